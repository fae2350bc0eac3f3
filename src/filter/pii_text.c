/* filter/pii_text.c - see pii_text.h */
#include "filter/pii_text.h"

#include <string.h>

enum { LETTERS = 8, LOOK_BACK = 112, WORDS_BACK = 10 };

#define D VS_C_DIGIT | VS_C_HEX | VS_C_MAIL
#define U VS_C_UPPER | VS_C_MAIL
#define L VS_C_LOWER | VS_C_MAIL
#define X VS_C_HEX
#define M VS_C_MAIL
#define S VS_C_SPACE
#define H VS_C_HIGH

const uint8_t vs_pii_kind[256] = {
    ['\t'] = S, ['\n'] = S, ['\r'] = S, [' '] = S,
    ['0'] = D, D, D, D, D, D, D, D, D, D,
    ['A'] = U | X, U | X, U | X, U | X, U | X, U | X, U, U, U, U, U, U, U, U, U, U, U, U, U, U, U, U, U, U, U, U,
    ['a'] = L | X, L | X, L | X, L | X, L | X, L | X, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L,
    ['.'] = M, ['_'] = M, ['%'] = M, ['+'] = M, ['-'] = M, ['\''] = M, ['&'] = M, ['#'] = 0, ['!'] = 0, ['~'] = M,
    [0x80] = H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H,
    H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H,
    H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H,
    H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H,
};

#undef D
#undef U
#undef L
#undef X
#undef M
#undef S
#undef H

/* Words of up to seven bytes are those words; eight are the beginning of any that goes on so. A Greek, Cyrillic, Hebrew or Arabic
 * letter counts as one; where characters have three bytes each, the first byte is left out of longer words: so three count. */
static const struct {
    uint64_t classes;
    const char *words;
} vocabulary[] = {
    { VS_NEAR(CARD), "card cards credit debit visa masterca amex discover maestro cc ccn cardno cardnum cardnumb pan kreditka "
                     "carte tarjeta karte carta creditca" },
    { VS_NEAR(SSN), "ssn ssns itin socialse" },
    { VS_NEAR(SOCIAL), "social sozialve" },
    { VS_NEAR(SECURITY), "security seguridad" },
    { VS_NEAR(PHONE), "phone phones telephon tel mobile cellphon fax whatsapp sms hotline helpline landline switchbo telefon "
                      "telefone telefono tel\xc3\xa9""fono tel\xc3\xa9""f t\xc3\xa9l t\xc3\xa9l\xc3\xa9""ph m\xc3\xb3vil movil "
                      "celular telefoon mobiel mobil cellular rufnumme ph phonenum phoneno mobileno mobilenu telegram whats "
                      "voicemai pager workphon homephon unter erreichb r\xc3\xbc""ckruf alternat" },
    { VS_NEAR(PHONE) | VS_NEAR(EXTENSION), "answerin message messages register call callback calling called text texted contact "
                                           "ring reach desk cell signal portable handy" },
    { VS_NEAR(EXTENSION), "ext extensio" },
    { VS_NEAR(VERSION), "version versions ver release released build firmware revision rev section chapter sdk upgrade upgraded "
                        "update updated patch driver oid objectid kernel semver jdk jre v bump bumped downgrad clause paragrap "
                        "docker image package library bios changelo tag milestone alpha beta rc stable snapshot dev \xc2\xa7 "
                        "installe" },
    { VS_NEAR(NET), "ip ips ipv host hosts from src dst addr address server client ping login connect dns node peer remote "
                    "source router proxy interfac gateway listen bind whois tracerou forwarde nameserv resolver logged ban "
                   "banned unban blocked blacklis blocklis whitelis allowlis denylist firewall iptables fail2ban dhcp radius "
                   "calling upstream attacker visitor intruder" },
    { VS_NEAR(MASK), "netmask mask subnet wildcard genmask" },
    { VS_NEAR(ACCOUNT), "account acct acc accountn accountid accounts ac konto kontonum cuenta compte conto rekening konton a/c "
                        "acctno acctnum checking savings clabe bankacco" },
    { VS_NEAR(BANK), "bank banking checking savings wire deposit transfer beneficia chase wells barclays hsbc citibank payroll "
                     "direct bankacco ach sort routing payment payments payee debit lender kontonum clabe" },
    { VS_NEAR(IBAN), "iban" },
    { VS_NEAR(ROUTING), "routing aba rtn transit routingn abanumb" },
    { VS_NEAR(SORT), "sort sortcode bsb" },
    { VS_NEAR(PASSPORT), "passport passnumm passnr reisepas passepor pasaport passapor paspoort ppt" },
    { VS_NEAR(LICENSE), "license licence licenses lic cdl permit dl dln driversl drivingl driverli f\xc3\xbchrers permis "
                        "licencia patente rijbewij fuehrers drvlic carnet" },
    { VS_NEAR(DRIVER), "driver drivers driving dl dln dmv driversl drivingl driverli f\xc3\xbchrers conduire conducir patente "
                       "rijbewij fuehrers dvla drvlic conducci" },
    { VS_NEAR(UNLICENSE), "software plate plates key product serial business medical nursing liquor pilot open source apache mit "
                          "gpl windows professi contract broker" },
    { VS_NEAR(BIRTH), "born birth dob f\xc3\xb8""dsels f\xc3\xb6""delse d.o.b birthday birthdat birthdt bday b-day geboren geb "
                      "geburtst geburtsd n\xc3\xa9 n\xc3\xa9""e naissanc nacimien nacido nacida nascita nato nata nascimen "
                      "nasceu geboorte gebdatum fecnac dateofbi doblabel bdate f\xc3\xb6""dd f\xc3\xb8""dt urodzeni" },
    { VS_NEAR(EVENT), "died death deceased expires expiry expirati exp issued issue hired admitted admissio visit visited "
                      "discharg appointm created updated modified valid due since married effectiv start started ended joined "
                      "invoice shipped ordered schedule meeting release released signed graduate surgery seen onset filed" },
    { VS_NEAR(MRN), "mrn hrn mrnum mrnumber mednumbe medrec patienti mr# medrecno medicalr emrn mpi" },
    { VS_NEAR(MEDICAL), "medical med health hospital clinic clinical medrec healthca mr ehr emr" },
    { VS_NEAR(RECORD), "record records chart file rec" },
    { VS_NEAR(CHART), "chart" },
    { VS_NEAR(PATIENT), "patient patients pt" },
    { VS_NEAR(NUMBER), "number numbers no num nr nbr id identifi nummer num\xc3\xa9ro numero n\xc3\xbamero # n\xc2\xba n\xc2\xb0 "
                       "ids nos" },
    { VS_NEAR(NHS), "nhs nhsno nhsnumbe chi" },
    { VS_NEAR(NPI), "npi npinumbe npis" },
    { VS_NEAR(MBI), "mbi medicare beneficia hicn mbinumbe" },
    { VS_NEAR(DEA), "dea deanumbe" },
    { VS_NEAR(MAC), "mac macaddre hwaddr ether ethernet bssid hw physical lladdr hardware arp wol bluetoot switch vlan nic lan "
                    "wlan wifi cisco sticky" },
    { VS_NEAR(OTHER), "order orders invoice tracking isbn issn sku serial part ref referenc timestam ticket upc ean batch "
                      "lot po hash commit build error imei transact txn case model item product epoch guid uuid trace "
                      "request session sequence barcode asin vin job pid port issue revision checksum digest confirma "
                      "booking flight parcel waybill shipment coupon voucher promo rma orderid gtin doi patent zip postcode "
                      "rfc inventor quantity price total amount version asset catalog catalogu counter offset ts nonce seed "
                      "size bytes score scores points docket drawing gasket bearing toner article kit cas accessio gene "
                      "figure table row column gate seat slot frame meter gauge chip sensor valve cartridg spool socket "
                      "screw bolt spare stock" },
    { VS_NEAR(USER), "user users github twitter customer client member loyalty email gmail facebook username login" },
    { VS_NEAR(LINK), "is was are as my his her their your our its the a an for of date new current full also being and number no "
                     "primary personal home work correct to old legal listed actual patient's s valid" },
    { VS_NEAR(PLACE), "at address addresse addr ship shipping deliver delivere delivery mail mailing located live lives living "
                      "lived reside resides residing residenc street home office property visit send moved billing adresse "
                      "direcci indirizz wohnhaft strasse stra\xc3\x9f""e domicili bill from endere\xc3\xa7 near meet house "
                      "apartmen adres" },
    { VS_NEAR(AADHAAR), "aadhaar aadhar uidai adhaar uid" },
    { VS_NEAR(SIN), "sin nas insuranc" },
    { VS_NEAR(CPF), "cpf" },
    { VS_NEAR(DNI), "dni nie nif" },
    { VS_NEAR(CODICE), "codice fiscale cf" },
    { VS_NEAR(PESEL), "pesel" },
    { VS_NEAR(NIR), "nir insee secu s\xc3\xa9""curit" },
    { VS_NEAR(BSN), "bsn burgerse sofi sofinumm" },
    { VS_NEAR(NORDIC), "personnu cpr f\xc3\xb8""dsels fodselsn henkil\xc3\xb6 hetu personal cprnumm samordni" },
    { VS_NEAR(RRN), "rrn resident korean jumin" },
    { VS_NEAR(CHINA), "chinese resident china" },
    { VS_NEAR(SOUTH), "african south rsa sa" },
    { VS_NEAR(TURKEY), "tckn turkish tc kimlik" },
    { VS_NEAR(NATIONAL), "national citizen identity nationl nationa ausweis personal personalau curp nric fin identita "
                         "identifi" },
    { VS_NEAR(TAX), "tax taxpayer tin steueri steuer tfn abn steuernu fiscal utr idnr pan" },
    { VS_NEAR(NINO), "nino ni nationa nationin" },
    { VS_NEAR(STREET), "rue avenue av ave boulevar bd place chemin all\xc3\xa9""e impasse quai calle c avenida avda paseo plaza "
                       "carrer via viale piazza corso largo rua travessa plac vicolo strada stretto contrada borgo "
                       "callej\xc3\xb3 rambla glorieta vial acceso ronda pasaje camino vereda aleja "
      "pl rotonda incrocio pasadizo "
                       "urbaniz alameda ladeira lotea pra\xc3\xa7""a estrada ul ulica al "
                       "jardim beco rodovia viela condom\xc3\xad n\xc3\xba""cleo p\xc3\xa1tio setor piazzale lungomar salita "
                       "canale" },
    { VS_NEAR(BOX), "po pobox p post postfach apartado psc cmr usnv ussc usns uscgc uss" },
    /* ROAD: nearly always a street's; LANE: also a common word, so that only capitals count */
    { VS_NEAR(ROAD), "street st avenue ave av boulevar blvd road rd lane ln drive dr parkway pkwy highway hwy terrace terr "
                     "circle cir broadway freeway fwy turnpike tpke expressw expy crescent cres mews" },
    { VS_NEAR(LANE), "court ct place pl square sq way trail trl close grove grv walk alley aly plaza plz loop run ridge hill "
                     "gardens gate quay wharf pike path crossing xing bend cove cv point pt park view heights hts green rise "
                     "vale manor row ter glen hollow canyon meadow meadows orchard landing bypass ramp pass knoll mall estate "
                     "croft drove yard viaduct dock docks causeway esplanad promenad parade strand field fields side "
                     "arcade gully" },
    /* the rest of the postal service's list: only with a unit, a state, or a word of addresses near it */
    { VS_NEAR(SUFFIX), "branch bridge brook brooks burg burgs camp cape center centers circles cliff cliffs club common commons "
                       "corner corners course courts coves creek crest crossroa curve dale dam divide drives estates extensio "
                       "fall falls ferry flat flats ford fords forest forge forges fork forks fort garden gateway glens greens "
                       "groves harbor harbors haven hills inlet island islands isle junction key keys knolls lake lakes land "
                       "light lights loaf lock locks lodge manors mill mills mission motorway mount "
      "mountain neck oval overpass "
                       "parks parkways passage pine pines plain plains points port ports prairie "
      "radial ranch rapid rapids rest "
                       "ridges river roads route rue shoal shoals shore shores skyway spring "
      "springs spur spurs squares station "
                       "stravenu stream streets summit throughw trace track trafficw tunnel "
      "underpas union unions valley valleys "
                       "via views village villages ville vista walks wall ways well wells" },
    { VS_NEAR(WIND), "n s e w ne nw se sw north south east west northeas northwes southeas southwes" },
    { VS_NEAR(STATE), "al ak az ar ca co ct de fl ga hi id il in ia ks ky la me md ma mi mn ms mo mt ne nv nh nj nm ny nc nd oh "
                      "ok or pa ri sc sd tn tx ut vt va wa wv wi wy dc pr on qc bc ab mb sk ns nb "
      "nl pe yt nt nu as gu mh mp fm "
                      "pw vi aa ae ap nsw vic qld tas act alabama alaska arizona arkansas californ colorado connecti delaware "
                      "florida georgia hawaii idaho illinois indiana iowa kansas kentucky louisian maine maryland massachu "
                      "michigan minnesot mississi missouri montana nebraska nevada ohio oklahoma "
      "oregon pennsylv tennesse texas "
                      "utah vermont virginia washingt wisconsi wyoming ontario quebec alberta manitoba victoria queensla" },
    { VS_NEAR(UNIT), "apt apartmen flat unit suite ste floor fl room rm studio piano piso appartam building bldg #" },
    { VS_NEAR(LABEL), "address addresse addr adresse adress adres direcci\xc3 direccio indirizz endere\xc3\xa7 anschrif street "
                      "wohnort domicili residenc" },
    { VS_NEAR(ELSE), "ip email e mail mac memory wallet web url bitcoin eth ethereum contract base bus hardware network virtual "
                     "physical byte ipv start end load mailto http https site source destinat" },
    { VS_NEAR(SOFT), "php python java ruby perl nginx httpd mysql postgres chrome firefox safari edge chromium android ios macos "
                     "ubuntu debian linux openssl django rails react angular jquery gcc clang cmake golang go dotnet opera "
                     "webkit electron acrobat office excel vlc putty redis mongodb kafka spark hadoop tomcat jenkins gradle "
                     "maven npm pip node" },
    /* other scripts, and languages that write few of the words above */
    { VS_NEAR(PHONE),
      "\xd1\x82\xd0\xb5\xd0\xbb\xd0\xb5\xd1\x84\xd0\xbe\xd0\xbd "
      "\xd1\x82\xd0\xb5\xd0\xbb\xd0\xb5\xd1\x84\xd0\xbe\xd0\xbd\xd0\xb0 "
      "\xd1\x82\xd0\xb5\xd0\xbb\xd0\xb5\xd1\x84\xd0\xbe\xd0\xbd\xd1\x8b \xd1\x82\xd0\xb5\xd0\xbb "
      "\xd0\xbc\xd0\xbe\xd0\xb1 \xd0\xbc\xd0\xbe\xd0\xb1\xd0\xb8\xd0\xbb\xd1\x8c\xd0\xbd\xd1\x8b "
      "\xd0\xbc\xd0\xbe\xd0\xb1\xd1\x96\xd0\xbb\xd1\x8c\xd0\xbd\xd0\xb8 "
      "\xd1\x81\xd0\xbe\xd1\x82\xd0\xbe\xd0\xb2\xd1\x8b\xd0\xb9 \xd1\x84\xd0\xb0\xd0\xba\xd1\x81 "
      "\xd0\xbd\xd0\xbe\xd0\xbc\xd0\xb5\xd1\x80\xd1\x82\xd0\xb5\xd0\xbb gsm telnr tlf telefonn "
      "telefonu telefons kom\xc3\xb3rka mobilnum telem\xc3\xb3vel fijo handynum handynr puhelin cep "
      "telepon ponsel \xc4\x91i\xe1\xbb\x87n "
      "\xcf\x84\xce\xb7\xce\xbb\xce\xad\xcf\x86\xcf\x89\xce\xbd\xce\xbf "
      "\xce\xa4\xce\xb7\xce\xbb\xce\xad\xcf\x86\xcf\x89\xce\xbd\xce\xbf "
      "\xce\xba\xce\xb9\xce\xbd\xce\xb7\xcf\x84\xcf\x8c \xd9\x87\xd8\xa7\xd8\xaa\xd9\x81 "
      "\xd8\xa7\xd9\x84\xd9\x87\xd8\xa7\xd8\xaa\xd9\x81 \xd8\xac\xd9\x88\xd8\xa7\xd9\x84 "
      "\xd8\xb7\xd9\x84\xd9\x81\xd9\x88\xd9\x86 \xd7\x98\xd7\x9c\xd7\xa4\xd7\x95\xd7\x9f "
      "\xe0\xa4\xab\xe0\xa5\x8b\xe0\xa4\xa8 \xe0\xa4\xab\xe0\xa4\xbc\xe0\xa5\x8b\xe0\xa4\xa8 "
      "\xe0\xb9\x82\xe0\xb8\x97\xe0\xb8\xa3\xe0\xb8\xa8\xe0\xb8\xb1\xe0\xb8\x9e\xe0\xb8\x97\xe0\xb9\x8c " },
    { VS_NEAR(PHONE) | VS_NEAR(EXTENSION),
      "\xe7\x94\xb5\xe8\xaf\x9d \xe9\x9b\xbb\xe8\xa9\xb1 \xe6\x89\x8b\xe6\x9c\xba "
      "\xe6\x89\x8b\xe6\xa9\x9f \xe6\x90\xba\xe5\xb8\xaf "
      "\xe5\xba\xa7\xe6\x9c\xba \xe8\x81\x94\xe7\xb3\xbb\xe6\x96\xb9\xe5\xbc\x8f "
      "\xec\xa0\x84\xed\x99\x94 \xed\x9c\xb4\xeb\x8c\x80\xed\x8f\xb0 \xec\x97\xb0\xeb\x9d\xbd\xec\xb2\x98 "
      "bel bellen liga\xc3\xa7\xc3\xa3o ligue ligar ll\xc3\xa1mame llamar llame appelez appeler joindre anrufen "
      "chiama chiamare chiamami zadzwo\xc5\x84 zvonite" },
    { VS_NEAR(BIRTH),
      "\xd1\x80\xd0\xbe\xd0\xb6\xd0\xb4\xd0\xb5\xd0\xbd\xd0\xb8\xd1\x8f "
      "\xd1\x80\xd0\xbe\xd0\xb4\xd0\xb8\xd0\xbb\xd1\x81\xd1\x8f "
      "\xd1\x80\xd0\xbe\xd0\xb4\xd0\xb8\xd0\xbb\xd0\xb0\xd1\x81\xd1\x8c "
      "\xd1\x80\xd0\xbe\xd0\xb6\xd0\xb4 "
      "\xd0\xbd\xd0\xb0\xd1\x80\xd0\xbe\xd0\xb4\xd0\xb6\xd0\xb5\xd0\xbd\xd0\xbd\xd1\x8f "
      "\xd0\xbd\xd0\xb0\xd1\x80\xd0\xbe\xd0\xb4\xd0\xb8\xd0\xb2\xd1\x81\xd1\x8f "
      "urodzony urodzona narozen narozena narozen\xc3\xbd narodil sz\xc3\xbcletett do\xc4\x9fum "
      "do\xc4\x9fumtarihi n\xc4\x83scut n\xc4\x83scut\xc4\x83 na\xc8\x99te syntym\xc3\xa4""aika "
      "syntynyt lahir \xce\xb3\xce\xad\xce\xbd\xce\xbd\xce\xb7\xcf\x83\xce\xb7\xcf\x82 "
      "\xce\xb3\xce\xb5\xce\xbd\xce\xbd\xce\xae\xce\xb8\xce\xb7\xce\xba\xce\xb5 "
      "\xd8\xa7\xd9\x84\xd9\x85\xd9\x8a\xd9\x84\xd8\xa7\xd8\xaf "
      "\xd9\x85\xd9\x88\xd9\x84\xd9\x88\xd8\xaf \xd7\x9c\xd7\x99\xd7\x93\xd7\x94 "
      "\xe0\xa4\x9c\xe0\xa4\xa8\xe0\xa5\x8d\xe0\xa4\xae nascido nascida nasc naci\xc3\xb3 "
      "\xe5\x87\xba\xe7\x94\x9f \xe7\x94\x9f\xe6\x97\xa5 "
      "\xe7\x94\x9f\xe5\xb9\xb4\xe6\x9c\x88\xe6\x97\xa5 \xe8\xaa\x95\xe7\x94\x9f\xe6\x97\xa5 "
      "\xe7\x94\x9f\xe3\x81\xbe\xe3\x82\x8c \xec\x83\x9d\xeb\x85\x84\xec\x9b\x94\xec\x9d\xbc "
      "\xec\x83\x9d\xec\x9d\xbc \xec\xb6\x9c\xec\x83\x9d \xec\xb6\x9c\xec\x83\x9d\xec\x9d\xbc" },
    { VS_NEAR(PASSPORT),
      "\xd0\xbf\xd0\xb0\xd1\x81\xd0\xbf\xd0\xbe\xd1\x80\xd1\x82 "
      "\xd0\xbf\xd0\xb0\xd1\x81\xd0\xbf\xd0\xbe\xd1\x80\xd1\x82\xd0\xb0 "
      "\xd0\xbf\xd0\xb0\xd1\x81\xd0\xbf\xd0\xbe\xd1\x80\xd1\x82\xd0\xbd paszport pasaporte pasaportu "
      "\xd8\xac\xd9\x88\xd8\xa7\xd8\xb2 \xd7\x93\xd7\xa8\xd7\x9b\xd7\x95\xd7\x9f "
      "\xe6\x8a\xa4\xe7\x85\xa7 \xe8\xad\xb7\xe7\x85\xa7 \xe6\x97\x85\xe5\x88\xb8 "
      "\xe3\x83\x91\xe3\x82\xb9\xe3\x83\x9d\xe3\x83\xbc\xe3\x83\x88 \xec\x97\xac\xea\xb6\x8c" },
    { VS_NEAR(LICENSE) | VS_NEAR(DRIVER),
      "\xd0\xb2\xd0\xbe\xd0\xb4\xd0\xb8\xd1\x82\xd0\xb5\xd0\xbb\xd1\x8c "
      "\xd0\xb2\xd0\xbe\xd0\xb4\xd1\x96\xd0\xb9\xd1\x81\xd1\x8c\xd0\xba jazdy "
      "\xc5\x99idi\xc4\x8dsk\xc3\xbd k\xc3\xb6rkort k\xc3\xb8rekort f\xc3\xb8rerkort ajokortti ehliyet "
      "cnh \xe9\xa9\xbe\xe9\xa9\xb6\xe8\xaf\x81 \xe9\xa9\xbe\xe7\x85\xa7 \xe9\xa7\x95\xe7\x85\xa7 "
      "\xe9\x81\x8b\xe8\xbb\xa2\xe5\x85\x8d\xe8\xa8\xb1 "
      "\xec\x9a\xb4\xec\xa0\x84\xeb\xa9\xb4\xed\x97\x88" },
    { VS_NEAR(CARD),
      "\xd0\xba\xd0\xb0\xd1\x80\xd1\x82\xd0\xb0 \xd0\xba\xd0\xb0\xd1\x80\xd1\x82\xd1\x8b "
      "\xd0\xba\xd0\xb0\xd1\x80\xd1\x82\xd0\xba\xd0\xb8 kart\xc4\xb1 "
      "\xe4\xbf\xa1\xe7\x94\xa8\xe5\x8d\xa1 \xe5\x8d\xa1\xe5\x8f\xb7 "
      "\xe3\x82\xab\xe3\x83\xbc\xe3\x83\x89 \xec\xb9\xb4\xeb\x93\x9c" },
    { VS_NEAR(MRN),
      "\xd0\xbc\xd0\xb5\xd0\xb4\xd0\xba\xd0\xb0\xd1\x80\xd1\x82\xd0\xb0 "
      "\xe7\x97\x85\xe5\x8e\x86\xe5\x8f\xb7 \xe7\x97\x85\xe6\xad\xb7\xe8\x99\x9f "
      "\xe4\xbd\x8f\xe9\x99\xa2\xe5\x8f\xb7 \xe8\xa8\xba\xe5\xaf\x9f\xe5\x88\xb8" },
    { VS_NEAR(PLACE),
      "\xd0\xb0\xd0\xb4\xd1\x80\xd0\xb5\xd1\x81 \xd0\xb0\xd0\xb4\xd1\x80\xd0\xb5\xd1\x81\xd0\xb0 "
      "\xd0\xbf\xd1\x80\xd0\xbe\xd0\xb6\xd0\xb8\xd0\xb2\xd0\xb0\xd0\xb5\xd1\x82 "
      "\xe5\x9c\xb0\xe5\x9d\x80 \xe4\xbd\x8f\xe5\x9d\x80 \xe4\xbd\x8f\xe6\x89\x80 "
      "\xec\xa3\xbc\xec\x86\x8c" },
    { VS_NEAR(EVENT),
      "\xe7\xad\xbe\xe5\x8f\x91 \xe7\xb0\xbd\xe7\x99\xbc \xe5\x8f\x91\xe5\xb8\x83 \xe7\x99\xbc\xe5\xb8\x83 "
      "\xe7\x94\x9f\xe6\x95\x88 \xe6\x9b\xb4\xe6\x96\xb0 \xe4\xb8\xbe\xe8\xa1\x8c \xe8\x88\x89\xe8\xa1\x8c "
      "\xe6\xb4\xbe\xe5\xaf\xb9 \xe6\xb4\xbe\xe5\xb0\x8d \xe8\x81\x9a\xe4\xbc\x9a \xe9\x80\x81\xe8\xbe\xbe "
      "\xe7\x99\xba\xe8\xa1\x8c \xe7\x99\xbb\xe9\x8c\xb2 \xe9\x96\x8b\xe5\x82\xac \xe7\x99\xba\xe5\xa3\xb2 "
      "\xeb\xb0\x9c\xea\xb8\x89 \xeb\xb0\x9c\xed\x96\x89 \xea\xb0\x9c\xec\xb5\x9c \xec\x8b\x9c\xed\x96\x89" },
    { VS_NEAR(OTHER),
      "\xe5\xba\x8f\xe5\x88\x97\xe5\x8f\xb7 \xe5\xba\x8f\xe5\x88\x97\xe8\x99\x9f \xe5\x9e\x8b\xe5\x8f\xb7 \xe5\x9e\x8b\xe8\x99\x9f "
      "\xe5\x9e\x8b\xe7\x95\xaa \xe5\x93\x81\xe7\x95\xaa \xe8\xae\xa2\xe5\x8d\x95 \xe8\xa8\x82\xe5\x96\xae "
      "\xe6\xb3\xa8\xe6\x96\x87 \xe5\x8d\x95\xe5\x8f\xb7 \xe5\x96\xae\xe8\x99\x9f \xe4\xbb\xb7\xe6\xa0\xbc "
      "\xe5\x83\xb9\xe6\xa0\xbc \xe9\x87\x91\xe9\xa2\x9d \xe9\x87\x91\xe9\xa1\x8d \xec\xa3\xbc\xeb\xac\xb8" },
    { VS_NEAR(ELSE),
      "\xe5\x8f\x91\xe7\x94\x9f \xe7\x99\xbc\xe7\x94\x9f \xe7\x99\xba\xe7\x94\x9f \xe4\xba\xa7\xe7\x94\x9f "
      "\xe7\x94\xa2\xe7\x94\x9f \xe5\x85\x88\xe7\x94\x9f \xe5\xad\xa6\xe7\x94\x9f \xe5\xad\xb8\xe7\x94\x9f "
      "\xe6\x96\xb0\xe7\x94\x9f \xe8\x80\x83\xe7\x94\x9f \xe5\x8c\xbb\xe7\x94\x9f \xe9\x86\xab\xe7\x94\x9f "
      "\xe5\x8d\xab\xe7\x94\x9f \xe8\xa1\x9b\xe7\x94\x9f \xe6\x8b\x9b\xe7\x94\x9f \xe4\xba\xba\xe7\x94\x9f "
      "\xe6\xb0\x91\xe7\x94\x9f \xeb\xb0\x9c\xec\x83\x9d \xed\x95\x99\xec\x83\x9d \xec\x84\xa0\xec\x83\x9d" },
    { VS_NEAR(ACCOUNT) | VS_NEAR(BANK), "\xe5\x8f\xa3\xe5\xba\xa7\xe7\x95\xaa\xe5\x8f\xb7 \xea\xb3\x84\xec\xa2\x8c" },
};

static const char *const months[12] = {
    "january jan januar janvier enero ene gennaio gen janeiro januari stycznia j\xc3\xa4nner "
    "\xd1\x8f\xd0\xbd\xd0\xb2\xd0\xb0\xd1\x80\xd1\x8f \xd1\x81\xd1\x96\xd1\x87\xd0\xbd\xd1\x8f ocak",
    "february feb februar f\xc3\xa9vrier febrero febbraio fevereiro fev februari lutego "
    "\xd1\x84\xd0\xb5\xd0\xb2\xd1\x80\xd0\xb0\xd0\xbb\xd1\x8f \xd0\xbb\xd1\x8e\xd1\x82\xd0\xbe\xd0\xb3\xd0\xbe \xc5\x9fubat",
    "march mar m\xc3\xa4rz maerz mars marzo mar\xc3\xa7o maart marca mrz "
    "\xd0\xbc\xd0\xb0\xd1\x80\xd1\x82\xd0\xb0 \xd0\xb1\xd0\xb5\xd1\x80\xd0\xb5\xd0\xb7\xd0\xbd\xd1\x8f mart",
    "april apr avril abril aprile avr abr kwietnia "
    "\xd0\xb0\xd0\xbf\xd1\x80\xd0\xb5\xd0\xbb\xd1\x8f \xd0\xba\xd0\xb2\xd1\x96\xd1\x82\xd0\xbd\xd1\x8f nisan",
    "may mai mayo maggio maio mei maja maj mag "
    "\xd0\xbc\xd0\xb0\xd1\x8f \xd1\x82\xd1\x80\xd0\xb0\xd0\xb2\xd0\xbd\xd1\x8f may\xc4\xb1s",
    "june jun juni juin junio giugno junho czerwca giu "
    "\xd0\xb8\xd1\x8e\xd0\xbd\xd1\x8f \xd1\x87\xd0\xb5\xd1\x80\xd0\xb2\xd0\xbd\xd1\x8f haziran",
    "july jul juli juillet julio luglio julho lipca lug juil "
    "\xd0\xb8\xd1\x8e\xd0\xbb\xd1\x8f \xd0\xbb\xd0\xb8\xd0\xbf\xd0\xbd\xd1\x8f temmuz",
    "august aug ao\xc3\xbbt agosto augustus sierpnia ago augusti "
    "\xd0\xb0\xd0\xb2\xd0\xb3\xd1\x83\xd1\x81\xd1\x82\xd0\xb0 \xd1\x81\xd0\xb5\xd1\x80\xd0\xbf\xd0\xbd\xd1\x8f a\xc4\x9fustos",
    "september sep sept septembre septiembre settembre setembro set wrze\xc5\x9bnia "
    "\xd1\x81\xd0\xb5\xd0\xbd\xd1\x82\xd1\x8f\xd0\xb1\xd1\x80\xd1\x8f "
      "\xd0\xb2\xd0\xb5\xd1\x80\xd0\xb5\xd1\x81\xd0\xbd\xd1\x8f eyl\xc3\xbcl",
    "october oct oktober octobre octubre ottobre outubro okt out pa\xc5\xba""dziernika ott "
    "\xd0\xbe\xd0\xba\xd1\x82\xd1\x8f\xd0\xb1\xd1\x80\xd1\x8f \xd0\xb6\xd0\xbe\xd0\xb2\xd1\x82\xd0\xbd\xd1\x8f ekim",
    "november nov novembre noviembre novembro listopada "
    "\xd0\xbd\xd0\xbe\xd1\x8f\xd0\xb1\xd1\x80\xd1\x8f "
      "\xd0\xbb\xd0\xb8\xd1\x81\xd1\x82\xd0\xbe\xd0\xbf\xd0\xb0\xd0\xb4\xd0\xb0 kas\xc4\xb1m",
    "december dec dezember d\xc3\xa9""cembre diciembre dicembre dezembro grudnia dez dic desember "
    "\xd0\xb4\xd0\xb5\xd0\xba\xd0\xb0\xd0\xb1\xd1\x80\xd1\x8f \xd0\xb3\xd1\x80\xd1\x83\xd0\xb4\xd0\xbd\xd1\x8f aral\xc4\xb1k",
};

/* The same, a row each. Before main, so that no text has to wait. */
static struct month_word { uint64_t key; uint8_t n, month; } month_words[200];
static unsigned n_month_words;

static uint64_t mix(uint64_t key)
{
    key *= 0x9e3779b97f4a7c15u;
    return key >> 32 ^ key >> 53;
}

/* The next letter of a word: small, without the capitals of accented ones; one byte also from U+0370 to U+06FF. */
static uint8_t letter(const uint8_t *s, size_t n, size_t *ret_n)
{
    *ret_n = 1;
    if (n > 1 && s[0] >= 0xcd && s[0] <= 0xdb) {
        unsigned c = (s[0] & 1u) << 6 | (s[1] & 0x3f);
        *ret_n = 2;
        if ((s[0] | 1) == 0xd1) {        /* Cyrillic: small, with and without its two dots */
            c = c < 0x10 ? c + 0x50 : c < 0x30 ? c + 0x20 : c;
            c = c == 0x51 ? 0x35 : c;
        }
        return (uint8_t)(0x80 | c);
    }
    return vs_is_upper(s[0]) ? s[0] | 32 : s[0];
}

static uint64_t key_of(const char *word, size_t n)
{
    const uint8_t *s = (const uint8_t *)word;
    uint64_t key = 0;
    bool is_wide = n > LETTERS && s[0] >= 0xe0 && s[0] < 0xf0;
    for (size_t i = is_wide, k = 0, width; i < n && k < LETTERS; i += width, k++) {
        uint8_t c = letter(s + i, n - i, &width);
        bool is_accented = k && (key >> 8 * (k - 1) & 0xff) == 0xc3 && c >= 0x80 && c < 0x9f && c != 0x97;
        key |= (uint64_t)(is_accented ? c | 32 : c) << 8 * k;
    }
    return key;
}

__attribute__((constructor)) static void start(void)
{
    for (unsigned m = 0; m < 12; m++)
        for (const char *word = months[m]; *word;) {
            size_t n = strcspn(word, " ");
            assert(n_month_words < sizeof month_words / sizeof *month_words);
            month_words[n_month_words++] = (struct month_word){ key_of(word, n), (uint8_t)n, (uint8_t)(m + 1) };
            word += n + strspn(word + n, " ");
        }
}

/* What begins with a word: a birth, an address; "MRN1234567". */
#define STARTS (VS_NEAR(MONTH) | VS_NEAR(STREET) | VS_NEAR(UNIT) | VS_NEAR(BOX) | VS_NEAR(MRN))

static void learn(struct vs_pii_state *p, uint64_t key, uint64_t classes)
{
    size_t slot = mix(key) % VS_PII_SLOTS;
    while (p->word[slot] && p->word[slot] != key)
        slot = (slot + 1) % VS_PII_SLOTS;
    p->word[slot] = key;
    p->classes[slot] |= classes;
    if (classes & STARTS)
        p->starts[vs_pii_start_bit(key) / 64] |= (uint64_t)1 << vs_pii_start_bit(key) % 64;
}

void vs_pii_init(struct vs_pii_state *p, uint32_t types)
{
    memset(p, 0, sizeof *p);
    p->types = types;
    for (size_t k = 0; k < sizeof vocabulary / sizeof *vocabulary; k++)
        for (const char *word = vocabulary[k].words; *word;) {
            size_t n = strcspn(word, " ");
            learn(p, key_of(word, n), vocabulary[k].classes);
            word += n + strspn(word + n, " ");
        }
    for (int m = 0; m < 12; m++)
        for (const char *word = months[m]; *word;) {
            size_t n = strcspn(word, " ");
            learn(p, key_of(word, n), VS_NEAR(MONTH));
            word += n + strspn(word + n, " ");
        }
}

/* The classes of a word by its first eight bytes. */
static uint64_t classes_of(const struct vs_pii_state *p, uint64_t key)
{
    size_t slot = mix(key) % VS_PII_SLOTS;
    while (p->word[slot] && p->word[slot] != key)
        slot = (slot + 1) % VS_PII_SLOTS;
    return p->word[slot] ? p->classes[slot] : 0;
}

static bool is_letter(uint8_t c)
{
    return vs_is_alnum(c) || c >= 0x80;
}

static uint8_t small(uint8_t c)
{
    return vs_is_upper(c) ? c | 32 : c;
}

/* ---- the words before p ---- */

/* The word that ends before text[i], not before `limit`; of camelCase its last part. Where it begins. */
static size_t word_back(const char *text, size_t i, size_t limit)
{
    size_t start = i;
    bool is_small = false;
    while (start > limit && is_letter((uint8_t)text[start - 1])) {
        uint8_t c = (uint8_t)text[start - 1];
        bool is_plural = i - start == 1 && text[start] == 's' && start - 1 > limit && vs_is_upper((uint8_t)text[start - 2]);
        if (vs_is_upper(c) && is_small && !is_plural)
            return start - 1;            /* but "IPs" is one word */
        if (start < i && !vs_is_upper(c) && vs_is_upper((uint8_t)text[start]) && !vs_is_digit(c))
            return start;
        is_small |= vs_is_lower(c);
        start--;
    }
    return start;
}

/* How many words further off the mark between two words makes the first: a line's end, a sentence's end. A question is answered. */
static unsigned distance(const char *text, size_t i, size_t next, size_t n_word_before)
{
    unsigned words = 0, lines = 0;
    for (size_t k = i; k < next; k++) {
        uint8_t c = (uint8_t)text[k];
        bool is_spaced = k + 1 < next && (vs_pii_kind[(uint8_t)text[k + 1]] & VS_C_SPACE);
        lines += c == '\n';
        if (((c == '.' && n_word_before > 4) || c == '!') && is_spaced)
            words += 4;
        if (c == ';' || c == '|')
            words += 1;
    }
    return words + lines + (lines > 1 ? VS_FAR : 0);
}

/* The word text[start, end) by its first letters, "D.O.B." and "DoB" as one; *ret_start where it begins then. */
static uint64_t key_back(const char *text, size_t start, size_t end, size_t limit, size_t *ret_start)
{
    uint64_t key = key_of(text + start, end - start);
    bool is_letter_dot = end - start == 1;
    for (unsigned n = 1; is_letter_dot && n < 5 && start > limit + 1 && text[start - 1] == '.'; n++) {
        if (!vs_is_alpha((uint8_t)text[start - 2]) || (start > limit + 2 && is_letter((uint8_t)text[start - 3])))
            break;
        key = key << 8 | small((uint8_t)text[start - 2]);
        start -= 2;
    }
    if (is_letter_dot && key == 'b' && start > limit + 1 && text[start - 1] == 'o' && text[start - 2] == 'D') {
        key = 'd' | 'o' << 8 | 'b' << 16;
        start -= 2;
    }
    if (end - start == 1 && key == 'c' && start > limit + 1 && text[start - 1] == '/' && (text[start - 2] | 32) == 'a') {
        key = 'a' | 'c' << 8;            /* a/c */
        start -= 2;
    }
    *ret_start = start;
    return key;
}

static void note(struct vs_pii_at *a, uint64_t key, unsigned far)
{
    for (uint64_t classes = classes_of(a->pii, key); classes && far < VS_FAR; classes &= classes - 1) {
        uint8_t *near = &a->near[__builtin_ctzll(classes)];
        *near = far < *near ? (uint8_t)far : *near;
    }
}

static const uint64_t born = 'b' | 'o' << 8 | 'r' << 16 | 'n' << 24;
static const uint64_t birth = 'b' | 'i' << 8 | 'r' << 16 | 't' << 24 | (uint64_t)'h' << 32;

/* "born of a dispute", "born from", "the birth of the web": of no person, unless one is named, or his date or place of birth.
 * text[start, i) is the word. */
static bool is_figure(const char *text, size_t start, size_t i, size_t next, size_t end)
{
    enum { FAR_ENOUGH = 48 };
    static const char *const words[] = { "of ", "from", "out " };
    static const char *const persons[] = {
        "parents", "wedlock", "mother", "father", "marriage", "family", "couple", "patient", "child", "son", "daughter", "baby",
        "applicant",
    };
    static const char *const subjects[] = { "he was ", "He was ", "I was ", "who was ", " of " };
    bool is_said = false;
    for (size_t k = 0; k < sizeof words / sizeof *words; k++)
        is_said |= next == i + 1 && next + strlen(words[k]) <= end && memcmp(text + next, words[k], strlen(words[k])) == 0;
    for (size_t k = 0; is_said && k < sizeof persons / sizeof *persons; k++)
        if (memmem(text + i, end - i < FAR_ENOUGH ? end - i : FAR_ENOUGH, persons[k], strlen(persons[k])))
            return false;
    for (size_t k = 0; is_said && k < sizeof subjects / sizeof *subjects; k++) {
        size_t n = strlen(subjects[k]);
        if (start >= n && memcmp(text + start - n, subjects[k], n) == 0)
            return false;
    }
    return is_said;
}

/* Scripts without blanks between words: labels within the last eight characters of text[start, end), up to a comma or full stop.
 * Four characters are a word's distance. What begins with the end of another word is none: the characters of "birth" and "day" in
 * "to happen" and "day". */
static void look_within(struct vs_pii_at *a, size_t start, size_t end, unsigned far)
{
    const uint8_t *s = (const uint8_t *)a->text;
    enum { CHARACTER = 3, TWO = 2 * CHARACTER };
    size_t i = end;
    for (unsigned k = 0; k < 8 && i >= start + CHARACTER && s[i - CHARACTER] >= 0xe3 && s[i - CHARACTER] < 0xf0; k++) {
        i -= CHARACTER;
        bool is_stop = s[i] == 0xe3 && s[i + 1] == 0x80 && (s[i + 2] == 0x81 || s[i + 2] == 0x82);
        if (is_stop || (s[i] == 0xef && s[i + 1] == 0xbc && s[i + 2] == 0x8c))
            return;
        bool is_end = i >= start + CHARACTER && classes_of(a->pii, key_of(a->text + i - CHARACTER, TWO)) & VS_NEAR(ELSE);
        if (end - i >= TWO && !is_end)
            note(a, key_of(a->text + i, TWO), far + k / 4);
        if (end - i > TWO && !is_end)
            note(a, key_of(a->text + i, TWO + CHARACTER), far + k / 4);
    }
}

static void look_back(struct vs_pii_at *a, int most_words)
{
    const char *text = a->text;
    size_t limit = a->p > LOOK_BACK ? a->p - LOOK_BACK : 0, i = a->p;
    unsigned far = 0, n_numbers = 0;
    for (int words = 0; words < most_words && far < VS_FAR; words++) {
        size_t next = i;
        while (i > limit && !is_letter((uint8_t)text[i - 1]))
            i--;
        if (i == limit)
            return;
        size_t start = word_back(text, i, limit);
        bool is_number = true;
        far += distance(text, i, next, i - start);
        for (size_t k = start; k < i; k++)
            is_number &= vs_is_digit((uint8_t)text[k]);
        if (is_number && i - start > 2) {
            far += 3;
            if (++n_numbers > 2)
                return;
        }
        uint64_t key = key_back(text, start, i, limit, &start);
        if ((key != born && key != birth) || !is_figure(text, start, i, next, a->p))
            note(a, key, far);
        if ((uint8_t)text[i - 1] >= 0x80)
            look_within(a, start, i, far);
        far++;
        i = start;
    }
}

/* ---- tables: the name of p's column ---- */

/* Cells before `end` of the line that begins at `line`; quotes hide the separator. */
static unsigned cells(const char *text, size_t line, size_t end, char separator)
{
    unsigned n = 0;
    bool is_quoted = false;
    for (size_t i = line; i < end; i++) {
        is_quoted ^= text[i] == '"';
        n += text[i] == separator && !is_quoted;
    }
    return n;
}

/* A line of names: no digits, nothing that ends a sentence, short cells. */
static bool is_header(const char *text, size_t line, size_t end, char separator)
{
    unsigned n_words = 0;
    for (size_t i = line, cell = line; i < end; i++) {
        char c = text[i];
        cell = c == separator ? i + 1 : cell;
        n_words = c == separator ? 0 : n_words + (c == ' ');
        if (vs_is_digit((uint8_t)c) || c == '!' || c == '?' || c == ':' || c == '@' || i + 1 - cell > 28 || n_words > 5)
            return false;
    }
    return true;
}

/* Whether a line may be one of names for any separator: most are refused here, by one look at each byte. */
static bool may_be_header(const char *text, size_t line, size_t end)
{
    unsigned n[3] = { 0 };               /* what is nothing, a separator, or not allowed */
    for (size_t i = line; i < end; i++) {
        uint8_t c = (uint8_t)text[i];
        n[vs_is_digit(c) || c == '!' || c == '?' || c == ':' || c == '@' ? 2 : c == ',' || c == '|' || c == ';' || c == '\t']++;
    }
    return n[1] >= 2 && !n[2];
}

/* In a table (CSV, or with '|') the first line of which is in sight, the words above p are near. */
static void look_up(struct vs_pii_at *a)
{
    static const char separators[] = ",|;\t";
    const char *text = a->text;
    size_t limit = a->p > VS_DETECT_CONTEXT ? a->p - VS_DETECT_CONTEXT : 0, line = a->p, head = limit, end;
    while (line > limit && text[line - 1] != '\n')
        line--;
    while (limit && head < line && text[head++] != '\n')
        ;
    if (line == limit || head >= line)
        return;
    for (end = head; text[end] != '\n'; end++)
        ;
    if (!may_be_header(text, head, end))
        return;
    for (const char *separator = separators; *separator; separator++) {
        unsigned n_above = cells(text, head, end, *separator), column = cells(text, line, a->p, *separator);
        if (n_above < 2 || column > n_above || !is_header(text, head, end, *separator))
            continue;
        size_t from = head, to;
        for (unsigned k = 0; k < column; k++)
            while (text[from++] != *separator)
                ;
        for (to = from; to < end && text[to] != *separator; to++)
            ;
        for (unsigned far = 0; to > from; far++) {
            while (to > from && !is_letter((uint8_t)text[to - 1]))
                to--;
            size_t start = word_back(text, to, from);
            if (start < to)
                note(a, key_back(text, start, to, from, &start), far);
            to = start;
        }
        return;
    }
}

static void know_near(struct vs_pii_at *a, int how_much)
{
    if (a->known == NONE_KNOWN) {
        memset(a->near, VS_FAR, sizeof a->near);
        look_up(a);
    }
    look_back(a, how_much == ALL_KNOWN ? WORDS_BACK : 1);
    a->known = how_much;
}

bool vs_pii_is_next(struct vs_pii_at *a, uint64_t classes)
{
    if (a->known == NONE_KNOWN)
        know_near(a, NEXT_KNOWN);
    for (; classes; classes &= classes - 1)
        if (a->near[__builtin_ctzll(classes)] == 0)
            return true;
    return false;
}

unsigned vs_pii_near(struct vs_pii_at *a, uint64_t classes)
{
    unsigned near = VS_FAR;
    if (a->known != ALL_KNOWN)
        know_near(a, ALL_KNOWN);
    for (; classes; classes &= classes - 1)
        if (a->near[__builtin_ctzll(classes)] < near)
            near = a->near[__builtin_ctzll(classes)];
    return near;
}

/* ---- what follows ---- */

size_t vs_pii_word(struct vs_pii_at *a, size_t i, uint64_t *ret_classes)
{
    size_t end = i;
    while (is_letter(vs_pii_byte(a, end)) && end - i < 40)
        end++;
    *ret_classes = end > i ? classes_of(a->pii, key_of(a->text + i, end - i)) : 0;
    return end;
}

bool vs_pii_is(struct vs_pii_at *a, size_t i, const char *word)
{
    for (; *word; word++, i++)
        if (small(vs_pii_byte(a, i)) != (uint8_t)*word)
            return false;
    return !is_letter(vs_pii_byte(a, i));
}

unsigned vs_pii_month(struct vs_pii_at *a, size_t i, size_t *ret_end)
{
    uint64_t classes;
    size_t end = vs_pii_word(a, i, &classes), n = end - i;
    if (!(classes & VS_NEAR(MONTH)))
        return 0;
    *ret_end = end + (n < 5 && vs_pii_byte(a, end) == '.');
    uint64_t key = key_of(a->text + i, n);
    for (unsigned m = 0; m < n_month_words; m++)
        if (month_words[m].key == key && month_words[m].n == n)
            return month_words[m].month;
    return 0;
}

uint64_t vs_pii_after(struct vs_pii_at *a, size_t i)
{
    uint64_t classes, all = 0;
    bool is_bracket = false;
    if (vs_pii_byte(a, i) == ',')
        return 0;
    while (vs_pii_byte(a, i) == ' ')
        i++;
    if (vs_pii_byte(a, i) == '(') {
        is_bracket = true;
        i++;
    }
    for (int words = 0; words < 6; words++) {
        size_t end = vs_pii_word(a, i, &classes);
        if (end == i)
            return is_bracket ? all : 0;
        uint8_t c = vs_pii_byte(a, end);
        if (c == ':' || c == '=' || c == '#')
            return 0;                    /* it names what follows */
        all |= classes & ~VS_NEAR(LINK);
        if (!is_bracket && !words && !(classes & VS_NEAR(LINK)))
            return 0;                    /* "12345 account settings" */
        if (!is_bracket && (all & ~VS_NEAR(NUMBER)))
            return vs_pii_byte(a, end) == ' ' && (vs_is_digit(vs_pii_byte(a, end + 1)) || vs_pii_byte(a, end + 1) == '#') ? 0 : all;
        if (!is_bracket && !(classes & VS_NEAR(LINK)))
            return 0;
        i = end;
        if (c == '\'' || c == ' ' || c == '-')
            i++;
    }
    return is_bracket ? all : 0;
}

/* ---- numbers ---- */

/* A separator at i: how many bytes, and which. */
static size_t separator(struct vs_pii_at *a, size_t i, char *ret)
{
    uint8_t c = vs_pii_byte(a, i);
    *ret = (char)c;
    if (c == ' ' || c == '-' || c == '.' || c == '/')
        return 1;
    if (c == 0xc2 && vs_pii_byte(a, i + 1) == 0xa0) {       /* no-break space */
        *ret = ' ';
        return 2;
    }
    if (c == 0xe2 && (vs_pii_byte(a, i + 1) == 0x80)) {
        uint8_t d = vs_pii_byte(a, i + 2);
        *ret = d == 0xaf || d == 0x89 ? ' ' : '-';           /* narrow no-break space, thin space; hyphens and dashes */
        return (d >= 0x90 && d <= 0x93) || d == 0xaf || d == 0x89 ? 3 : 0;
    }
    return 0;
}

bool vs_pii_groups(struct vs_pii_at *a, size_t i, struct vs_pii_groups *ret)
{
    struct vs_pii_groups *g = ret;
    g->n = g->n_digits = 0;
    char mark = 0;
    for (;;) {
        size_t start = i;
        for (uint8_t c; vs_is_digit(c = vs_pii_byte(a, i)); i++) {
            if (g->n_digits == VS_PII_DIGITS)
                return g->n > 0;
            g->digits[g->n_digits++] = (char)c;
        }
        if (i == start)
            return g->n > 0;
        g->length[g->n] = (uint8_t)(i - start);
        g->separator[g->n] = mark;
        g->end[g->n++] = i;
        g->digits[g->n_digits] = 0;
        size_t width = separator(a, i, &mark);
        if (!width || g->n == VS_PII_GROUPS || !vs_is_digit(vs_pii_byte(a, i + width)))
            return true;
        i += width;
    }
}

/* Three digits and no more: what follows the comma of 1,000. */
static bool is_thousand(struct vs_pii_at *a, size_t i)
{
    return vs_is_digit(vs_pii_byte(a, i)) && vs_is_digit(vs_pii_byte(a, i + 1)) && vs_is_digit(vs_pii_byte(a, i + 2))
           && !vs_is_alnum(vs_pii_byte(a, i + 3)) && vs_pii_byte(a, i + 3) != '-' && vs_pii_byte(a, i + 3) != '/';
}

bool vs_pii_ends(struct vs_pii_at *a, size_t i)
{
    uint8_t c = vs_pii_byte(a, i);
    if (vs_is_word(c) || c == '%')
        return false;
    if (c == '-')
        return !vs_is_alnum(vs_pii_byte(a, i + 1));
    if (c == ',')
        return !is_thousand(a, i + 1);
    return (c != '.' && c != '/') || !vs_is_digit(vs_pii_byte(a, i + 1));
}

bool vs_pii_is_between(struct vs_pii_at *a, size_t i)
{
    return vs_pii_before(a, 1) == ' ' && vs_is_alnum(vs_pii_before(a, 2)) && vs_pii_byte(a, i) == ' '
           && vs_is_digit(vs_pii_byte(a, i + 1));
}

bool vs_pii_begins(struct vs_pii_at *a)
{
    uint8_t c = vs_pii_before(a, 1), b = vs_pii_before(a, 2);
    if (c == '$' || vs_is_word(c))
        return false;
    if (c == '-' || c == '.' || c == '/' || c == '+')
        return !vs_is_word(b);
    /* euro, pound */
    return !(c == 0xac && b == 0x82) && !(c == 0xa3 && b == 0xc2) && !(c == ',' && vs_is_digit(b) && is_thousand(a, a->p));
}
