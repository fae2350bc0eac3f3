/* filter/pii_words.c - see pii_words.h */
#include "filter/pii_words.h"

#include "filter/pii_text.h"

#include <stdlib.h>
#include <string.h>

enum { LETTERS = 8 };

/* Words of up to seven bytes are those words; eight are the beginning of any that goes on so. A Greek, Cyrillic, Hebrew or Arabic
 * letter counts as one; where characters have three bytes each, the first byte is left out of longer words: so three count. */
static const struct {
    uint64_t classes;
    const char *words;
} vocabulary[] = {
    { VS_NEAR(CARD), "card cards credit debit visa masterca amex discover maestro cc ccn cardno cardnum cardnumb pan "
                     "kreditka carte tarjeta karte carta creditca" },
    { VS_NEAR(SSN), "ssn ssns itin socialse" },
    { VS_NEAR(SOCIAL), "social sozialve" },
    { VS_NEAR(SECURITY), "security seguridad" },
    { VS_NEAR(PHONE), "phone phones telephon tel mobile cellphon fax whatsapp sms hotline helpline landline switchbo "
                      "telefon telefone telefono teléfono teléf tél téléph móvil movil celular telefoon mobiel mobil "
                      "cellular rufnumme ph phonenum phoneno mobileno mobilenu telegram whats voicemai pager workphon "
                      "homephon unter erreichb rückruf alternat" },
    { VS_NEAR(PHONE) | VS_NEAR(EXTENSION), "answerin message messages register call callback calling called text texted "
                        "contact ring reach desk cell signal portable handy" },
    { VS_NEAR(EXTENSION), "ext extensio" },
    { VS_NEAR(VERSION), "version versions ver release released build firmware revision rev section chapter sdk upgrade "
                        "upgraded update updated patch driver oid objectid kernel semver jdk jre v bump bumped downgrad "
                        "clause paragrap docker image package library bios changelo tag milestone alpha beta rc stable "
                        "snapshot dev § installe" },
    { VS_NEAR(NET), "ip ips ipv host hosts src dst addr address server client ping login connect connecti dns node peer "
                    "remote source router proxy interfac gateway listen bind whois tracerou forwarde nameserv resolver "
                    "logged ban banned unban blocked blacklis blocklis whitelis allowlis denylist firewall iptables "
                    "fail2ban dhcp radius calling upstream attacker visitor intruder" },
    { VS_NEAR(MASK), "netmask mask subnet wildcard genmask" },
    { VS_NEAR(ACCOUNT), "account acct acc accountn accountid accounts ac konto kontonum cuenta compte conto rekening "
                        "konton a/c acctno acctnum checking savings clabe bankacco" },
    { VS_NEAR(BANK), "bank banking checking savings wire deposit transfer beneficia chase wells barclays hsbc citibank "
                     "payroll direct bankacco ach sort routing payment payments payee debit lender kontonum clabe" },
    { VS_NEAR(IBAN), "iban" },
    { VS_NEAR(ROUTING), "routing aba rtn transit routingn abanumb" },
    { VS_NEAR(SORT), "sort sortcode bsb" },
    { VS_NEAR(PASSPORT), "passport passnumm passnr reisepas passepor pasaport passapor paspoort ppt" },
    { VS_NEAR(LICENSE), "license licence licenses lic cdl permit dl dln driversl drivingl driverli führers permis "
                        "licencia patente rijbewij fuehrers drvlic carnet" },
    { VS_NEAR(DRIVER), "driver drivers driving dl dln dmv driversl drivingl driverli führers conduire conducir patente "
                       "rijbewij fuehrers dvla drvlic conducci" },
    { VS_NEAR(UNLICENSE), "software plate plates key product serial business medical nursing liquor pilot open source "
                        "apache mit gpl windows professi contract broker" },
    { VS_NEAR(BIRTH), "born birth dob fødsels födelse d.o.b birthday birthdat birthdt bday b-day geboren geb geburtst "
                      "geburtsd né née naissanc nacimien nacido nacida nascita nato nata nascimen nasceu geboorte "
                      "gebdatum fecnac dateofbi doblabel bdate född født urodzeni" },
    { VS_NEAR(EVENT), "died death deceased expires expiry expirati exp issued issue hired admitted admissio visit visited "
                      "discharg appointm created updated modified valid due since married effectiv start started ended "
                      "joined invoice shipped ordered schedule meeting release released signed graduate surgery seen "
                      "onset filed" },
    { VS_NEAR(MRN), "mrn hrn mrnum mrnumber mednumbe medrec patienti mr# medrecno medicalr emrn mpi patientn "
                    "krankenakte prontuário prontuario" },
    { VS_NEAR(MEDICAL), "medical med health hospital clinic clinical medrec healthca mr ehr emr médical médico "
                        "médica clínica clinica clínico clinico medica medico медицинской медична" },
    { VS_NEAR(RECORD), "record records chart file rec dossier historia cartella expediente карты карта картки akte" },
    { VS_NEAR(CHART), "chart" },
    { VS_NEAR(PATIENT), "patient patients pt patienten paciente paziente pacjenta pacienta пациента пациент patiënt 患者 환자" },
    { VS_NEAR(NUMBER), "number numbers no num nr nbr id identifi nummer numéro numero número # nº n° ids nos номер № numer "
                       "numarası číslo" },
    { VS_NEAR(NHS), "nhs nhsno nhsnumbe chi" },
    { VS_NEAR(NPI), "npi npinumbe npis" },
    { VS_NEAR(MBI), "mbi medicare beneficia hicn mbinumbe" },
    { VS_NEAR(DEA), "dea deanumbe" },
    { VS_NEAR(MAC), "mac macaddre hwaddr ether ethernet bssid hw physical lladdr hardware arp wol bluetoot switch vlan "
                    "nic lan wlan wifi cisco sticky" },
    { VS_NEAR(OTHER), "order orders invoice tracking isbn issn sku serial part ref referenc timestam ticket upc ean batch "
                      "lot po hash commit build error imei transact txn case model item product epoch guid uuid trace "
                      "request session sequence barcode asin vin job pid port issue revision checksum digest confirma "
                      "booking flight parcel waybill shipment coupon voucher promo rma orderid gtin doi patent zip "
                      "postcode rfc inventor quantity price total amount version asset catalog catalogu counter offset ts "
                      "nonce seed size bytes score scores points docket drawing gasket bearing toner article kit cas "
                      "accessio gene figure table row column gate seat slot frame meter gauge chip sensor valve cartridg "
                      "spool socket screw bolt spare stock" },
    { VS_NEAR(USER), "user users github twitter customer client member loyalty email gmail facebook username login" },
    { VS_NEAR(LINK), "is was are as my his her their your our its the a an for of date new current full also being and "
                     "number no primary personal home work correct to old legal listed actual patient's s valid" },
    { VS_NEAR(PLACE), "at address addresse addr ship shipping deliver delivere delivery mail mailing located live lives "
                      "living lived reside resides residing residenc street home office property visit send moved billing "
                      "adresse direcci indirizz wohnhaft strasse straße domicili bill from endereç near meet house "
                      "apartmen adres" },
    { VS_NEAR(AADHAAR), "aadhaar aadhar uidai adhaar uid" },
    { VS_NEAR(SIN), "sin nas insuranc" },
    { VS_NEAR(CPF), "cpf" },
    { VS_NEAR(DNI), "dni nie nif" },
    { VS_NEAR(CODICE), "codice fiscale cf" },
    { VS_NEAR(PESEL), "pesel" },
    { VS_NEAR(NIR), "nir insee secu sécurit" },
    { VS_NEAR(BSN), "bsn burgerse sofi sofinumm" },
    { VS_NEAR(NORDIC), "personnu cpr fødsels fodselsn henkilö hetu personal cprnumm samordni" },
    { VS_NEAR(RRN), "rrn resident korean jumin" },
    { VS_NEAR(CHINA), "chinese resident china" },
    { VS_NEAR(SOUTH), "african south rsa sa" },
    { VS_NEAR(TURKEY), "tckn turkish tc kimlik" },
    { VS_NEAR(NATIONAL), "national citizen identity nationl nationa ausweis personal personalau curp nric fin identita "
                        "identifi" },
    { VS_NEAR(TAX), "tax taxpayer tin steueri steuer tfn abn steuernu fiscal utr idnr pan" },
    { VS_NEAR(NINO), "nino ni nationa nationin" },
    { VS_NEAR(STREET), "rue avenue av ave boulevar bd place chemin allée impasse quai calle c avenida avda paseo plaza "
                       "carrer via viale piazza corso largo rua travessa plac vicolo strada stretto contrada borgo "
                       "callejó rambla glorieta vial acceso ronda pasaje camino vereda aleja pl rotonda incrocio pasadizo "
                       "urbaniz alameda ladeira lotea praça estrada ul ulica al jardim beco rodovia viela condomí núcleo "
                       "pátio setor piazzale lungomar salita canale" },
    { VS_NEAR(BOX), "po pobox p post postfach apartado psc cmr usnv ussc usns uscgc uss" },
    /* ROAD: nearly always a street's; LANE: also a common word, so that only capitals count */
    { VS_NEAR(ROAD), "street st avenue ave av boulevar blvd road rd lane ln drive dr parkway pkwy highway hwy terrace "
                     "terr circle cir broadway freeway fwy turnpike tpke expressw expy crescent cres mews" },
    { VS_NEAR(LANE), "court ct place pl square sq way trail trl close grove grv walk alley aly plaza plz loop run ridge "
                     "hill gardens gate quay wharf pike path crossing xing bend cove cv point pt park view heights hts "
                     "green rise vale manor row ter glen hollow canyon meadow meadows orchard landing bypass ramp pass "
                     "knoll mall estate croft drove yard viaduct dock docks causeway esplanad promenad parade strand "
                     "field fields side arcade gully" },
    /* the rest of the postal service's list: only with a unit, a state, or a word of addresses near it */
    { VS_NEAR(SUFFIX), "branch bridge brook brooks burg burgs camp cape center centers circles cliff cliffs club common "
                       "commons corner corners course courts coves creek crest crossroa curve dale dam divide drives "
                       "estates extensio fall falls ferry flat flats ford fords forest forge forges fork forks fort "
                       "garden gateway glens greens groves harbor harbors haven hills inlet island islands isle junction "
                       "key keys knolls lake lakes land light lights loaf lock locks lodge manors mill mills mission "
                       "motorway mount mountain neck oval overpass parks parkways passage pine pines plain plains points "
                       "port ports prairie radial ranch rapid rapids rest ridges river roads route rue shoal shoals shore "
                       "shores skyway spring springs spur spurs squares station stravenu stream streets summit throughw "
                       "trace track trafficw tunnel underpas union unions valley valleys via views village villages ville "
                       "vista walks wall ways well wells" },
    { VS_NEAR(WIND), "n s e w ne nw se sw north south east west northeas northwes southeas southwes" },
    { VS_NEAR(STATE), "al ak az ar ca co ct de fl ga hi id il in ia ks ky la me md ma mi mn ms mo mt ne nv nh nj nm ny nc "
                      "nd oh ok or pa ri sc sd tn tx ut vt va wa wv wi wy dc pr on qc bc ab mb sk ns nb nl pe yt nt nu as "
                      "gu mh mp fm pw vi aa ae ap nsw vic qld tas act alabama alaska arizona arkansas californ colorado "
                      "connecti delaware florida georgia hawaii idaho illinois indiana iowa kansas kentucky louisian "
                      "maine maryland massachu michigan minnesot mississi missouri montana nebraska nevada ohio oklahoma "
                      "oregon pennsylv tennesse texas utah vermont virginia washingt wisconsi wyoming ontario quebec "
                      "alberta manitoba victoria queensla" },
    { VS_NEAR(UNIT), "apt apartmen flat unit suite ste floor fl room rm studio piano piso appartam building bldg #" },
    { VS_NEAR(LABEL), "address addresse addr adresse adress adres direcció direccio indirizz endereç anschrif street "
                      "wohnort domicili residenc" },
    { VS_NEAR(ELSE), "ip email e mail mac memory wallet web url bitcoin eth ethereum contract base bus hardware network "
                     "virtual physical byte ipv start end load mailto http https site source destinat" },
    { VS_NEAR(SOFT), "php python java ruby perl nginx httpd mysql postgres chrome firefox safari edge chromium android "
                     "ios macos ubuntu debian linux openssl django rails react angular jquery gcc clang cmake golang go "
                     "dotnet opera webkit electron acrobat office excel vlc putty redis mongodb kafka spark hadoop tomcat "
                     "jenkins gradle maven npm pip node glibc musl" },
    /* other scripts, and languages that write few of the words above */
    { VS_NEAR(PHONE), "телефон телефона телефоны тел моб мобильны мобільни сотовый факс номертел gsm telnr tlf telefonn "
                      "telefonu telefons komórka mobilnum telemóvel fijo handynum handynr puhelin cep telepon ponsel điện "
                      "τηλέφωνο Τηλέφωνο κινητό هاتف الهاتف جوال طلفون טלפון फोन फ़ोन โทรศัพท์" },
    { VS_NEAR(PHONE) | VS_NEAR(EXTENSION), "bel bellen ligação ligue ligar llámame llamar llame appelez appeler joindre "
                        "anrufen chiama chiamare chiamami zadzwoń zvonite" },
    { VS_NEAR(BIRTH), "рождения родился родилась рожд народження народився urodzony urodzona narozen narozena narozený "
                      "narodil született doğum doğumtarihi născut născută naște syntymäaika syntynyt lahir γέννησης "
                      "γεννήθηκε الميلاد مولود לידה जन्म nascido nascida nasc nació" },
    { VS_NEAR(PASSPORT), "паспорт паспорта паспортн paszport pasaporte pasaportu جواز דרכון" },
    { VS_NEAR(LICENSE) | VS_NEAR(DRIVER), "водитель водійськ jazdy řidičský körkort kørekort førerkort ajokortti ehliyet "
                        "cnh" },
    { VS_NEAR(CARD), "карта карты картки kartı" },
    { VS_NEAR(MRN), "медкарта" },
    { VS_NEAR(PLACE), "адрес адреса проживает" },
    /* Chinese, Japanese, Korean, where a word needs no blank around it, by two or three characters (LINK: up to three). What
     * stands between a label and what it tells: links and labels, nothing else. */
    { VS_NEAR(LINK), "号 號 码 碼 号码 號碼 编号 編號 是 为 為 就 换 換 成 改 变更 變更 在 于 於 日 期 日期 年月 月日 给 給 我 请 請 拨 "
                     "撥 打 联系 聯絡 咨询 諮詢 转 轉 的 证 證 証 本人 微信 同 可 及 和 与 與 或 也 了 式 书 書 番号 番號 は が へ に の "
                     "か ら を も まで です ート 許 번호 는 은 이 가 의 로 으로 를 을 변경 연락 부탁 주세요 문의 증 일 일자 허 ： （ ） "
                     "「 」 『 』 【 】 ・ ／ “ ” \u3000 호" },
    { VS_NEAR(PHONE), "电话 電話 手机 手機 携帯 座机 传真 傳真 热线 熱線 联系方 聯絡方 連絡先 전화 휴대폰 핸드폰 휴대전 연락처 팩스" },
    { VS_NEAR(BIRTH), "出生 生日 生于 生於 生年月 誕生日 生まれ 생년월 생일 출생" },
    { VS_NEAR(PASSPORT), "护照 護照 旅券 パスポ 여권" },
    { VS_NEAR(LICENSE) | VS_NEAR(DRIVER), "驾驶证 驾照 駕照 運転免 免許証 운전면" },
    { VS_NEAR(CARD), "信用卡 卡号 卡號 カード 카드" },
    { VS_NEAR(ACCOUNT) | VS_NEAR(BANK), "口座 银行账 銀行帳 银行卡 계좌" },
    { VS_NEAR(MRN), "病历号 病歷號 病案号 住院号 住院號 診察券 カルテ 患者番 환자번 병록번" },
    { VS_NEAR(PLACE), "地址 住址 住所 주소" },
    /* they tell something else, whatever stands behind them */
    { VS_NEAR(OTHER), "序列号 序列號 型号 型號 型番 品番 订单 訂單 注文 单号 單號 价格 價格 金额 金額 주문" },
    /* with these two the first character of a label is the end of another word */
    { VS_NEAR(ELSE), "发生 發生 発生 产生 產生 先生 学生 學生 新生 考生 医生 醫生 卫生 衛生 招生 人生 民生 발생 학생 선생" },
};

static const char *const months[12] = {
    "january jan januar janvier enero ene gennaio gen janeiro januari stycznia jänner января січня ocak",
    "february feb februar février febrero febbraio fevereiro fev februari lutego февраля лютого şubat",
    "march mar märz maerz mars marzo março maart marca mrz марта березня mart",
    "april apr avril abril aprile avr abr kwietnia апреля квітня nisan",
    "may mai mayo maggio maio mei maja maj mag мая травня mayıs",
    "june jun juni juin junio giugno junho czerwca giu июня червня haziran",
    "july jul juli juillet julio luglio julho lipca lug juil июля липня temmuz",
    "august aug août agosto augustus sierpnia ago augusti августа серпня ağustos",
    "september sep sept septembre septiembre settembre setembro set września сентября вересня eylül",
    "october oct oktober octobre octubre ottobre outubro okt out października ott октября жовтня ekim",
    "november nov novembre noviembre novembro listopada ноября листопада kasım",
    "december dec dezember décembre diciembre dicembre dezembro grudnia dez dic desember декабря грудня aralık",
};

uint64_t vs_pii_starts[VS_PII_STARTS / 64];

static struct vs_pii_word *table;
static size_t n_slots;                   /* a power of two, at least twice the number of words */

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

/* The first eight bytes of a word of ASCII, its capitals small. */
static inline bool plain_key(const char *word, size_t n, uint64_t *ret)
{
    const uint64_t each = UINT64_C(0x0101010101010101);
    uint64_t key = 0;
    uint32_t first = 0, last = 0;
    if (n >= LETTERS) {
        memcpy(&key, word, LETTERS);
    } else if (n >= sizeof first) {
        memcpy(&first, word, sizeof first);
        memcpy(&last, word + n - sizeof last, sizeof last);
        key = first | (uint64_t)last << 8 * (n - sizeof last);
    } else {
        for (size_t i = 0; i < n; i++)
            key |= (uint64_t)(uint8_t)word[i] << 8 * i;
    }
    *ret = key | ((key + (0x80 - 'A') * each) & ~(key + (0x80 - 'Z' - 1) * each) & 0x80 * each) >> 2;
    return __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ && !(key & 0x80 * each);
}

uint64_t vs_pii_key(const char *word, size_t n)
{
    const uint8_t *s = (const uint8_t *)word;
    uint64_t key = 0;
    if (plain_key(word, n, &key))
        return key;
    key = 0;
    bool is_wide = n > LETTERS && s[0] >= 0xe0 && s[0] < 0xf0;
    for (size_t i = is_wide, k = 0, width; i < n && k < LETTERS; i += width, k++) {
        uint8_t c = letter(s + i, n - i, &width);
        bool is_accented = k && (key >> 8 * (k - 1) & 0xff) == 0xc3 && c >= 0x80 && c < 0x9f && c != 0x97;
        key |= (uint64_t)(is_accented ? c | 32 : c) << 8 * k;
    }
    return key;
}

const struct vs_pii_word *vs_pii_lookup(uint64_t key)
{
    uint64_t mixed = key * 0x9e3779b97f4a7c15u;
    size_t slot = (mixed >> 32 ^ mixed >> 53) & (n_slots - 1);
    while (table[slot].key && table[slot].key != key)
        slot = (slot + 1) & (n_slots - 1);
    return &table[slot];
}

/* What begins with a word: a birth, an address; "MRN1234567". */
#define STARTS (VS_NEAR(MONTH) | VS_NEAR(STREET) | VS_NEAR(UNIT) | VS_NEAR(BOX) | VS_NEAR(MRN))

/* Each word of a list, as `classes` and month; how many they are. `is_kept`: counted alone, or put into the table. */
static size_t learn(const char *words, uint64_t classes, unsigned month, bool is_kept)
{
    size_t n_words = 0;
    for (size_t n; *words; words += n + strspn(words + n, " "), n_words++) {
        n = strcspn(words, " ");
        if (!is_kept)
            continue;
        uint64_t key = vs_pii_key(words, n);
        struct vs_pii_word *word = &table[vs_pii_lookup(key) - table];
        word->key = key;
        word->classes |= classes;
        if (month)
            word->month = (uint8_t)month, word->n = (uint8_t)n;
        if (classes & STARTS)
            vs_pii_starts[vs_pii_start_bit(key) / 64] |= (uint64_t)1 << vs_pii_start_bit(key) % 64;
    }
    return n_words;
}

static size_t learn_all(bool is_kept)
{
    size_t n = 0;
    for (size_t k = 0; k < sizeof vocabulary / sizeof *vocabulary; k++)
        n += learn(vocabulary[k].words, vocabulary[k].classes, 0, is_kept);
    for (unsigned m = 0; m < 12; m++)
        n += learn(months[m], VS_NEAR(MONTH), m + 1, is_kept);
    return n;
}

/* Before main, so that no text has to wait. */
__attribute__((constructor)) static void start(void)
{
    size_t n = learn_all(false);
    for (n_slots = 1; n_slots < 2 * n; n_slots *= 2)
        ;
    table = calloc(n_slots, sizeof *table);
    if (!table)
        abort();                         /* no memory for one table: there is nothing to go on with */
    learn_all(true);
}
