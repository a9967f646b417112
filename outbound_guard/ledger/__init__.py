"""What happened, searchable. Records go to a journal of files; the scribe puts the journal into SQL; queries read it.

`records` what is recorded; `journal` the writing side, used by every process; `segments` the journal's files;
`scribe` journal to SQL, in one process alone; `storing` records to rows; `database` engine and migrations;
`tables` the schema; `queries` and `directory_queries` reading; `retention` what is forgotten. SQLAlchemy and Alembic
are known only here, and not by `records`, `journal` and `segments`: who just writes records never loads them.
"""
