"""Words that tell names of people from other words in letters: the many languages of greetings, closings and titles."""

from __future__ import annotations

import functools
from importlib import resources


def words_of(text: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(text.split())


PARTICLES = words_of(
    "van von vom zu zur de der den des di da del della delle dello degli dos das du la le les el al bin ibn ben abu "
    "ter ten te af av y e i und d' l' o' mac mc st san ap op 't"
)
"""They may stand inside a name, in small letters."""

ROLES = words_of(
    "abuse postmaster noc support hostmaster security webmaster info admin administrator administration help helpdesk "
    "desk team teams service services customer customers department dept office operations ops network mail mailer "
    "daemon email sales billing contact delivery deliverability sender senders trust safety compliance legal dmca cert "
    "csirt soc root system noreply reply no do not bounce bounces newsletter delist delisting removal removals unblock "
    "whitelist allowlist blocklist rbl dnsbl fbl feedback complaints complaint spam antispam anti phishing report "
    "reports listmaster usenet news tosa domains domain registry hosting host webhosting kundenservice kundendienst "
    "technik technical tech it edv datenschutz privacy dpo gdpr ticket tickets request requests queue notifications "
    "notification alerts alert monitoring incident incidents response vertrieb buchhaltung redaktion kontakt contacto "
    "contato contatto soporte suporte assistenza assistance soutien equipe equipo group list lists owner junk postbox "
    "isp staff board moderator moderators registrar registrars icloudadmin maildelivery mailmaster mailadmin "
    "icann ripe arin apnic lacnic afrinic ipadmin ipmaster ripemaster dnsmaster dnsadmin peering routing"
)
"""Parts of role addresses and of what departments are called."""

ENDINGS = ("abuse", "postmaster", "support", "admin", "noc", "helpdesk", "hostmaster", "delist", "unblock", "master")
"""What role addresses may end in, as in `icloudadmin`."""

ORDINARY = ROLES | words_of(
    # Organisations and work
    "inc ltd llc llp gmbh ag kg ohg ug bv nv sa sas sarl srl spa sl ab as oy plc corp corporation "
    "company co group holding "
    "foundation university institute bank engineer engineering manager management director head lead "
    "senior junior chief "
    "officer president vice analyst specialist consultant developer architect assistant agent representative "
    "supervisor coordinator ceo cto cio ciso cfo international internet solutions systems technologies technology "
    "software cloud data center centre communications telecom telekom communication media online digital networks "
    "provider postmasters mailbox server servers account accounts google microsoft yahoo apple spamhaus spamcop "
    "barracuda cisco proofpoint mimecast outlook hotmail gmail telekom comcast orange sfr gmx web ionos linkedin "
    "facebook twitter skype whatsapp telegram signal github abusix validity sorbs uceprotect cloudmark symantec "
    # What letters are made of
    "hi hello hey dear regards best kind warm sincerely yours faithfully truly thanks thank you "
    "cheers please sir madam "
    "sirs all everyone everybody there both colleagues colleague friend friends ladies gentlemen folks guys mr mrs ms "
    "miss dr prof herr herrn frau damen herren kollegen kolleginnen zusammen leute freunde monsieur madame "
    "mesdames messieurs senor senora senores sra sr signor signora signori gentile "
    "sent from my iphone ipad android mobile device get forwarded message original begin end subject date to cc bcc "
    "re fwd fw aw wg tr rv attachment attachments confidential disclaimer note notice warning important urgent "
    "the a an and or of in on at by for with this that these those we our your their his her its is are was were "
    "be been will would should could can may might must have has had do does did not no yes ok okay if when while "
    "as it i me us they he she who what where why how which then than so but also just only very more most some any "
    "each every other another such same new old first last next previous following above below after before since "
    "until again already still now today tomorrow yesterday later soon here good great morning "
    "afternoon evening night day week "
    "month year time number numbers phone tel telephone fax mobile cell office home address website www http https "
    "ip ipv4 ipv6 asn as dns ptr mx spf dkim dmarc tls smtp esmtp imap pop http api url uri id ref reference case "
    "case-id code error status reason result listed delisted blocked unblocked removed resolved closed open pending "
    "reply answer question issue problem solution information details evidence log logs header headers body address "
    "addresses range ranges block list lists entry entries policy policies rule rules terms conditions "
    "freundlichen grussen grusse gruss mit viele liebe beste herzliche schone hochachtungsvoll vielen dank danke bitte "
    "guten tag morgen abend hallo sehr geehrte geehrter geehrten lieber moin servus anbei unser "
    "unsere wir sie ihre ihr "
    "ich bin ist nicht und oder der die das ein eine fur von im am um uhr schrieb "
    "bonjour bonsoir salut cordialement merci cher chere bien vous nous votre notre est pas et ou le la les un une des "
    "hola saludos atentamente gracias buenos buenas dias tardes noches estimado estimada estimados el los las y o por "
    "ciao salve buongiorno buonasera saluti cordiali distinti grazie egregio caro cara il lo gli uno e "
    "ola obrigado obrigada atenciosamente prezado prezada bom boa dia "
    "beste geachte hallo groet groeten vriendelijke met dank hej hei kaere kjare basta hilsen "
    "halsningar venlig vennlig "
    "monday tuesday wednesday thursday friday saturday sunday mon tue tues wed thu thur thurs fri "
    "sat sun january february "
    "march april may june july august september october november december jan feb mar apr jun jul "
    "aug sep sept oct nov dec "
    "montag dienstag mittwoch donnerstag freitag samstag sonntag januar februar marz mai juni juli "
    "oktober dezember mo di "
    "mi do fr sa so lundi mardi mercredi jeudi vendredi samedi dimanche janvier fevrier mars avril juin juillet aout "
    "septembre octobre novembre decembre lunes martes miercoles jueves viernes sabado domingo enero "
    "febrero marzo abril "
    "mayo junio julio agosto septiembre octubre noviembre diciembre lun mar mer gio ven sab dom gennaio aprile maggio "
    "giugno luglio settembre ottobre dicembre utc gmt cet cest est edt pst pdt cdt mst bst msk jst ist am pm "
    "wrote writes schreef skrev ecrit escribio scritto escreveu "
    "removed name united states kingdom germany france spain italy street avenue road"
)
"""Words that are no names of people, folded. A line with one of them is not taken for a name."""

GREETINGS = (
    "hi|hello|hey|dear|good morning|good afternoon|good evening|greetings|hallo|guten tag|guten morgen|guten abend|"
    "sehr geehrte frau|sehr geehrter herr|sehr geehrte|sehr geehrter|lieber|liebe|moin|servus|gruezi|bonjour|bonsoir|"
    "cher|chere|salut|hola|estimado|estimada|estimados|querido|querida|buenos dias|buenas tardes|ciao|gentile|egregio|"
    "egregia|buongiorno|buonasera|caro|cara|salve|ola|prezado|prezada|bom dia|boa tarde|beste|geachte|goedendag|"
    "goedemorgen|hej|hei|kaere|kjaere|kjare|basta|hyva|dzien dobry|szanowny panie|szanowna pani|szanowny|szanowna|"
    "witam|czesc|dobry den|vazeny pane|vazena pani|vazeny|vazena|kedves|tisztelt|buna ziua|stimate|stimata|sayin|"
    "merhaba|здравствуйте|уважаемый|уважаемая|привет|добрый день|доброе утро|добрыи день|уважаемыи|шановний|"
    "attn|attention|z. hd|zu handen|尊敬的|您好|你好|亲爱的|親愛的|שלום|היי|عزيزي|عزيزتي|مرحبا|السلام عليكم|"
    "γεια σας|γεια σου|αγαπητε|αγαπητη|здравейте|уважаеми|шановна|kinh gui|chao|xin chao|yth|halo|안녕하세요"
)

CLOSINGS = (
    "best|best regards|best wishes|kind regards|kindest regards|warm regards|warmest regards|regards|"
    "many thanks|thanks|"
    "thanks and regards|thanks & regards|thanks in advance|thank you|thank you very much|thanks a lot|thx|cheers|"
    "sincerely|yours sincerely|sincerely yours|yours faithfully|yours truly|yours|br|kr|rgds|all the best|take care|"
    "respectfully|mit freundlichen grussen|mit freundlichem gruss|freundliche grusse|mit besten grussen|beste grusse|"
    "viele grusse|liebe grusse|schone grusse|herzliche grusse|gruss|grusse|mfg|lg|vg|"
    "hochachtungsvoll|vielen dank|danke|"
    "cordialement|bien cordialement|bien a vous|salutations|sinceres salutations|merci|amicalement|a bientot|cdlt|"
    "saludos|un saludo|saludos cordiales|atentamente|cordialmente|gracias|muchas gracias|cordiali saluti|"
    "distinti saluti|saluti|grazie|un saluto|a presto|atenciosamente|abracos|abraco|cumprimentos|com "
    "os melhores cumprimentos|"
    "obrigado|obrigada|met vriendelijke groet|met vriendelijke groeten|vriendelijke groet|groet|groeten|mvg|dank|"
    "med venlig hilsen|venlig hilsen|mvh|hilsen|med vennlig hilsen|vennlig hilsen|halsningar|med vanliga halsningar|"
    "vanliga halsningar|ystavallisin terveisin|terveisin|pozdrawiam|z powazaniem|serdecznie pozdrawiam|s pozdravem|"
    "dekuji|udvozlettel|cu stima|saygilarimla|iyi calismalar|с уважением|с наилучшими пожеланиями|спасибо|з повагою|"
    "בברכה|תודה|בכבוד רב|مع تحياتي|تحياتي|شكرا|مع خالص التحية|με εκτιμηση|ευχαριστω|поздрави|дякую|tran trong|"
    "cam on|salam|hormat kami|terima kasih|ystavallisin terveisin|kiitos|takk|tack|tak|dziekuje|"
    "koszonom|multumesc|tesekkurler|"
    "此致|敬礼|祝好|谢谢|敬具|よろしくお願いします|よろしくお願いいたします|감사합니다"
)

TITLES = (
    "Mr Mrs Ms Miss Mx Dr Prof Professor Sir Herr Herrn Frau Fr Hr Mme Mlle Monsieur Madame Señor "
    "Señora Sr Sra Srta Don Doña "
    "Sig Signor Signora Sig.ra Dott Dott.ssa Ing Avv Pane Paní pane paní Dhr Mevr Mevrouw Meneer Pan "
    "Pani Pana Dipl.-Ing "
    "Mag Sayın Bay Bayan "
    "господин госпожа г-н г-жа"
)

INTRODUCTIONS = (
    "my name is|i am|i'm|this is|mein name ist|ich bin|ich heisse|hier ist|je m'appelle|je suis|me llamo|mi nombre es|"
    "soy|mi chiamo|sono|meu nome e|eu sou|mijn naam is|ik ben|mit navn er|jeg hedder|jag heter|mitt namn ar|"
    "nazywam sie|mam na imie|jmenuji se|меня зовут|我叫|我是|私は"
)

LABELS = (
    "name|full name|contact|contact name|contact person|attn|attention|agent|agent name|"
    "representative|your agent|handled by|"
    "assigned to|assignee|owner|engineer|analyst|author|person|responsible|reported by|reporter|requested by|requester|"
    "created by|updated by|submitted by|signed|signed by|approved by|caller|employee|first name|last name|surname|"
    "ansprechpartner|ansprechpartnerin|bearbeiter|sachbearbeiter|sachbearbeiterin|kontakt|"
    "kontaktperson|geschaftsfuhrer|"
    "vorname|nachname|interlocuteur|nom|prenom|contacto|nombre|apellido|apellidos|referente|nome|"
    "cognome|responsavel|contactpersoon|naam|"
    "imie i nazwisko|jmeno|имя|фамилия|контактное лицо|ответственный|registrant name|admin name|tech "
    "name|ceo|managing director|"
    "联系人|姓名|担当|担当者"
)


@functools.cache
def given_names() -> frozenset[str]:
    """Common given names, folded."""
    text = (resources.files("outbound_guard.desk.redaction") / "people.txt").read_text(encoding="utf-8")
    return frozenset(word for line in text.splitlines() if not line.startswith("#") for word in line.split())
