"""Control panels: told who is suspended here, so that their servers stop
that mail where it starts, and who no longer is.

`calls` what is asked of a panel, and how it can go wrong; `cpanel`, `plesk`, `directadmin` what each understands;
`reach` the calls themselves; `carrier` what a notice of the outbox means for a panel, which is a route as any other.
"""
