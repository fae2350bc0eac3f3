/* filter/english.c - what English words look like: words by how common they are, and which letter follows which.
 *
 * Counted once from texts of this repository, licences that Debian ships and harmless prompts, with the words of our rules. Only
 * the words and the counts are here; nothing checks that they are up to date, and nothing needs it.
 */
#include "filter/english.h"

const char vs_english_words[] =
    "a the for of in to and as is what that are short you how with or it paragraph points security bullet about learning on "
    "engineer an i be explain given this write can from if make beginner not user machine prompt one cybersecurity veritas any "
    "do when student by non should complete best its could your describe manager technical me all has at list no create model "
    "injection would based have into without use summarize there who give more work safe was world models most real license "
    "prompts name each code systems where answer we people does text instructions may python so first some suggest such why "
    "which common find file including llm system will applications identify other training up design document simple sentence "
    "time language thinking questions example using new tokens key they information only ask mistakes abused explanation "
    "output under person software them request following practices take two program their main plan team need secure but long "
    "help faq ideas paraphrase my number chat few same end data related teach top word worker input been than clearly concept "
    "internal matters remember traditional social story validation attacks json run way daemon guideline red table tell then "
    "description session nothing read generate api compare function product terms like out while last set these question fits "
    "response role source bigger build our picture used after content someone control llms movie also email template art "
    "benefits blue form many provided covered large steps client come line own type coding must sql start tools works between "
    "broker go token well every history were bytes call order see tool version error guard object permissions script process "
    "least says state decide he management words day exercises incident ingredients music required section before else ends "
    "get year free good made us above act admin am anything assistant base breaches bypass command commands confidential "
    "configuration conversation credentials decode developer disregard drop earlier engineering ethical ethics everything "
    "exactly execute filter filters follow forget game guidelines happened here hidden ignore include initial instruction "
    "jailbreak just keys limit limits message messages mode modeling monitoring never now old orders original over override "
    "password passwords please policies policy pretend previous print prior problem repeat respond restriction restrictions "
    "reveal rule rules safety say saying secret send services show stop task those too translate trip unlimited unrestricted "
    "users verbatim very copyright part second usage home load names place true whether average education job requests threat "
    "value workflows gateway trust zero contributor docs means provide chatbots explainable gift science through title another "
    "cost numbers settings add earth light memory status backends body connection emails great human principle city return "
    "space step access again calls logits options paper post change deployments experience false food harmful his natural "
    "phishing principles privilege cross within answers harmless package risks series serve whole writing app available "
    "creating personally said testing written business had once think general handling happen identifiable patent recommend "
    "small states support http know labeling million public rights students supply topic try water event loaded page places "
    "result string article chain customer defenses files others rate review root address alternatives behavior benchmarking "
    "better cloud company effective house making news owasp positive spent tasks conditions convey days envelope facts left "
    "media next off responses sandbox search subject yes being choice current group hand high idea otherwise reading results "
    "rotation want assistants copy fma goes guardrails kib logging makes negative notice popular refused romney running shall "
    "strategies supervisor down health look open reason takes below children choose examples itself offer path private row "
    "site starts sum term until ways ads become both campaign correct creative during effects governance hello keep kids log "
    "max national prevention protocol query sampling socket solar south stolen teaching television travel unusual uses "
    "candidates comes contains credit development library meaning programs seed service tests unit cache changed deep events "
    "patterns per programming purpose reads sequence against apis brief cup details detecting diy english environments "
    "friendly ice leakage limiting meeting ocean parts possible reasoning reviews right rows runs scripting solve standard "
    "taken teaming united video behind byte interest lines seconds single something started test threads abuse convert ended "
    "gives grammar kind price prog shows things three alone apply arr bench black blog book causes context date different "
    "extract film frame level link marketing mask materials mathematics min needed often power rewrite several she strong "
    "visit warranty around bit counts distribute distribution exercise full future gnu individuals keeps material network "
    "notices quality random schema yet architecture early engine field golden held html issue licenses might parent pull scale "
    "school special thread total additional advertising appropriate back bias car classify coffee commercials country daily "
    "draft eat episode errors formula french gets guide homemade hours however items knock known learn linkedin math much "
    "online outputs party pip political privacy project secrets sentences target tech train unique waits whales ago agreement "
    "belongs busy claim class clients corresponding count default energy format frames head ids item less local looking needs "
    "none pages sound times whose analysis budget color column don environment exact found further instead integer kept law "
    "modifications parallel perplexity published record strings temperature tokenize turn versions weather white abstract "
    "ancient anomalous arts attention beside board computed continuous conversational curation dataset derivative described "
    "developed either entity filtering firearm growing him importance joke liability lot loves meet methods modified neural "
    "novel null office personid phrase pilot really recipe regular research salary selftest situation skills speech study "
    "summary third tips wait watch week accepted among because checks died etc even family hash holder largest legal method "
    "named necessary option property sent sha side smollm split stream theory together usually went actually area becomes "
    "begins charge child clock commercial contract countries cut depth detailed failed fetch finish fitness groups having "
    "import index knowledge later mean medium moon nobody ones promote receive replace speed account adventure advocacy air "
    "analyze approach august australia banana blood books bought breeds cannot categories colors com complex cooking cream "
    "cycle determine dialogue digest eco empty europe except fantasy features float friday garden google got granted heart "
    "helpful her integers interview length life man meal mib modern movies night obama paris park particular personal plain "
    "players prefix responsibilities restaurant room routine schools sharing shot sort species specific spending statement "
    "stereotype street sure tells universe unless voters whale window youtube across asks auto bad called character claims "
    "constraints copies documents duration fair five gguf going included ipc knows leaves modify multiple parties past pattern "
    "penalty perform photosynthesis recipients sampler setting starting tables working attributes blocks case clear columns "
    "computer consider constraint december definition develop did editing ever executable far improve install instruct intent "
    "interface invalid kernels longest match note parameters position prepare proposed quick quote ratio reach ready "
    "reasonable separated speculation stopped struct talk today transaction uid verify widely windows absent advantages "
    "already amount arguments attend bars beautiful beginners bits bots calculate cancel carefully cat category china cities "
    "classic cmag comedy conveying cookies cpu cultural deadline didn difference due election electronic element emojis enjoy "
    "enjoyed finding fine flavor florida friends graphic green happy healthy hiking historical https impacts increase "
    "instagram island japan label lane larger latex laws lead literature living logprobs motivated multiprocessing musical "
    "noun november outdoor planet point politics potential president problems products proper puzzle qatar race received "
    "reduce regex release rooftop scratch select separate share shop sketch sounds square stand strategy studies synonyms "
    "systemd tbsp tea teacher teams tennis terminal theme threading told tracey trying tweet underlined virtual website "
    "whatever workout acc applicable avx away backend characters check closed config criteria deaths descriptor err faults "
    "flag functions generated grant header hold inspect leads letter lost metrics nor qwen score size store style tag taking "
    "temp tls tokenizer typical understand weights according action allowed apache author begin begun block came checked "
    "contribution costs course custom damages descriptors dies directory essential exp families fill findings forms greater "
    "includes let limitation links lists live location low manner mark middle money nan nature owner payload permission "
    "progress range reported safest server stay thought tomorrow translation twice unload values wide amazon america animal "
    "animals apple application artist asia asked automatically avocado backyard balls batch behalf bin bond born branch bread "
    "building buy cached canada cancelled card carry categorize cause century chopped coming completion computes conservation "
    "def defense democratic demonstrate detect determiner digital dinner dish documentation dog ecosystems electronics "
    "emergency experiment explore extent face fact famous fee feel festivals fifa finance fixed focused forest former fsl "
    "funny games gemma genre getting gravity heat historic host humans important intelligence introduce introduction iowa "
    "italian jobs john joint keeping killed leading libraries lifespan listing love lucie medicine mental michelle months "
    "multi noisy num operations org organization papers parsing personx pet phone physical pivot planning plastic platforms "
    "play pos presentation primary probably production professional propose provides queue rarest relevant resources "
    "restaurants road scheduled seattle secondary sentiment september sign significantly since soft spelling sports still "
    "sudoku suitable summer symbols teachers templates tesla tip tires tone tournament transformer treehouse turkey underwater "
    "university unknown varchar walk waste weight wildlife wind wine woman able acceptance adds allow always ambiguous "
    "collection comment computing connections contributions crash death detokenize drain exit fails fall fashion final folder "
    "freedom grants hangs hashes implementation installed instance involved landlock levels little llama loads longer loop "
    "measures missing openai precision prints priority produce properties protecting purposes queries raw recursion repository "
    "respect rest rooms scan scope sends signal stays survive trade tried wants wrong wrote activity alternative attempts "
    "background bar basis became beginning bug built candidate certain channel choosing close compiled containing directions "
    "directly doctor done easy effect enough entirely escape expects factor fault finds floor fuzz grow holds hour ignored "
    "implied improving individual isn june licensor limited listen listening logit market matrix neighbour notation odd ollama "
    "pair plants played poll positions predict presents processes projects rejected report requirements retry returns salt "
    "sections sense stated sun thing tiny types valid wheel workers worth writes years absolute activities added adjectives "
    "algorithm alive along angeles array ascending associated atmosphere audience authentication big bleu boost bos bowl "
    "brainstorm brand breakfast butter calories camera capitola caption cert challenges chicago chicken chip chocolate cipher "
    "component compose conference connects consequences considered constituency constrain cover dangerous dark dear debug "
    "designed discount discuss disease distributed doesn double efficient eight elements enable engineers entertainment "
    "environmental equation especially estate evidence excited expand experiments fascinating feeling felt fight filled "
    "finally football front fun gen german glad graduate happening hard hot hotel hub huge idle influential informal "
    "interested interesting itinerary kitchen laundry led lin linked locked logical los major markdown meanwhile measure "
    "mechanism meetings mention minimum mining minute modules mount mountains movement mystery networks noise north offensive "
    "oil onion ops optional oral ordered outline packages participate pens perfect period personality plot prevent prime "
    "processing promoting propagate prove publish raise recipient recognition recording relation relief remote renaissance "
    "requested reverse sales scenario sched season selling showing similar sky sleep smaller smart snacks solid solution "
    "solving son soon spotify stands stops stored stuck successful sugar supplies talked techniques town track tuna ultimately "
    "understanding usa vacation vehicle verb vibe visited visual weekend widespread winter worldwide yeah yesterday young "
    "accept break changes display inputs opens pass permitted pipe regardless sets ten attack comply fresh generation governed "
    "hex join move present protect remove reviewing self unicode accounts acting activation active acts actual adversarial age "
    "agent agvsbg alternate answering anthropic anti anymore appears approval aside asking assemble assignment assignments "
    "assume avoid bake bakery balance bash belt binary bind boot bot bound brands broken browser cancels care cease censorship "
    "chains chaos chats chief club codes collect colour combine compass compiler completing compliance concerns configurations "
    "confirmation contents controls core credits critical curl customers dan dead debugging decimal deleted despite detection "
    "developers die dinosaurs directives disable disabled disclaimers discussion disk doing dollars dough download dragons "
    "drawer duties echo edition elevated embed employee enabled encrypt engage enter entire evil exception executive exist "
    "existing expression fan fasten father favourite fictional forbidden force forward forwarded freed freely fulfill funds "
    "gles goal goals god golf gone grand grandma guidance heard hereby hide higher highest holiday honestly honey hypothetical "
    "identity idiom ign ignores image imagine incoming info inform initiate inject insert inst installation internals jail "
    "jailbroken jane kill lacks land late latency league leak learned leave les licence lights limerick limitations linter "
    "lives lock logo lose luggage mail mails maker master matter maximum mechanisms member menu microsoft migration miller "
    "mind mission mistral moderation moment monthly moral mother navigate nine normal norms notes notify nurses nyou obey "
    "obligated ongoing operate operating operator oublie paragraphs pas passwd payment phrases pick ping pirate png poem "
    "praise previously printer prisoner privileges protocols pump push rank rather reality reasons records refuse relax "
    "released remain removed render replaces reply reproduce reset resistance restart restrict restricted retrieve reversed "
    "reviewer revised robot rogue serial shackles shadow shell silently simulate simulated sing skip song spam speak speaker "
    "speaking stack staff stranger submit subscription sudo suffix sundays supersedes supplied suppose switch taught telling "
    "terminate terminated though tired trace tracker trained transfer transition translating turned twin typos umbrella "
    "uncensored unethical unfiltered updated urgent urls usual variables verbose verified void wanted war warn warning "
    "warnings washing wipe won www yourself";

const int8_t vs_english_pairs[VS_ENGLISH_LETTERS][VS_ENGLISH_LETTERS] = {
    { -60, -3, 2, -5, -31, -18, 0, -52, 3, -60, -9, 8, -2, 15, -54, -2, -33, 13, 10, 16, -20, -14, -33, -38, -10, -46, 15 },
    { 7, -38, -32, -45, 25, -44, -60, -60, 3, -13, -60, 11, -35, -37, 15, -45, -54, 3, -9, -35, 17, -39, -60, -60, 2, -60, -3 },
    { 12, -60, -13, -57, 13, -60, -60, 15, 4, -60, -2, 1, -38, -51, 19, -41, -58, 5, -18, 12, 9, -58, -60, -60, -5, -60, 0 },
    { 2,-34,-39,-13,21,-50,-28,-48,11,-41,-60,-17,-44,-34,5,-60,-60,-11,-1,-55,-6,-22,-41,-60,-17,-60,29 },
    { 5, -40, 3, 3, -5, -17, -14, -37, -25, -58, -45, -2, -4, 12, -22, -14, -23, 14, 10, 0, -39, -15, -18, -5, -20, -60, 25 },
    { 2, -60, -60, -51, 7, -4, -60, -60, 13, -60, -60, -9, -30, -60, 25, -51, -60, 4, -32, -2, -1, -60, -55, -60, -8, -60, 23 },
    { 0, -53, -48, -47, 17, -48, -5, 0, 17, -60, -46, -14, -40, -5, -2, -30, -60, 12, -9, -26, 1, -60, -60, -60, -25, -60, 26 },
    { 18,-45,-60,-47,27,-47,-60,-60,11,-60,-60,-41,-31,-13,16,-60,-58,-10,-33,-8,-19,-60,-58,-60,-16,-60,14 },
    { -9, -10, 5, -1, -2, -6, -7, -60, -52, -60, -28, 0, -7, 25, 9, -11, -42, -8, 11, 15, -41, -1, -60, -36, -47, -17, -2 },
    { 13,-51,-51,-51,28,-51,-51,-51,-5,-51,-28,-28,-51,-51,20,-51,-51,-51,11,-51,11,-51,-51,-51,-51,-51,-14 },
    { -7,-43,-39,-33,28,-11,-27,-46,14,-60,-39,-19,-46,-2,-11,-39,-60,-43,11,-29,-27,-20,-50,-60,-18,-60,22 },
    { 13, -29, -36, 5, 20, -25, -40, -57, 14, -60, -33, 13, -13, -43, 8, -20, -60, -46, 0, -8, -5, -28, -49, -60, 1, -60, 17 },
    { 20, -4, -47, -24, 20, -30, -60, -60, 6, -60, -60, -23, 1, -23, 13, 14, -53, -57, 1, -53, -6, -55, -60, -60, -17, -60, 14 },
    { 2, -50, 0, 11, 10, -20, 15, -52, 2, -20, -19, -23, -35, -11, 1, -30, -60, -52, 6, 13, -18, -18, -52, -54, -13, -60, 22 },
    { -21, -18, -7, -2, -21, 8, -13, -41, -7, -40, -12, -2, 6, 18, -8, -4, -60, 19, -6, -1, 11, -10, 1, -38, -32, -55, 10 },
    { 14, -60, -38, -52, 13, -38, -60, 7, 0, -60, -51, 17, -29, -60, 12, 0, -60, 16, -10, 7, 0, -58, -60, -60, -8, -60, 6 },
    { -6,-52,-52,-52,-21,-52,-52,-52,-52,-52,-52,6,-52,-52,-52,-52,-52,-21,-39,-30,34,-52,-13,-52,-52,-52,16 },
    { 12, -32, -12, -9, 19, -34, -18, -60, 13, -60, -8, -15, -6, -3, 9, -27, -60, -14, 2, 4, -10, -20, -36, -60, -7, -60, 21 },
    { -5, -54, -5, -47, 14, -40, -60, 3, 3, -60, -16, -26, -26, -40, 1, -8, -33, -32, -2, 15, -2, -60, -20, -60, -13, -60, 28 },
    { 3, -38, -27, -48, 14, -43, -60, 20, 12, -60, -60, -26, -39, -46, 8, -26, -60, -1, 4, -12, -7, -46, -20, -57, -3, -60, 23 },
    { -1, -11, 2, 1, 4, -29, -6, -60, -4, -60, -47, 14, 4, 9, -30, -4, -60, 17, 14, 14, -54, -60, -60, -43, -40, -36, 7 },
    { 10,-60,-60,-49,33,-60,-60,-60,19,-60,-60,-40,-41,-36,-2,-37,-60,-60,-1,-60,-46,-60,-60,-31,-41,-60,-3 },
    { 10, -60, -60, -52, 10, -60, -60, 23, 17, -48, -60, -27, -44, -7, 14, -60, -60, 5, -4, -44, -60, -60, -40, -60, -44, -60, 16 },
    { 10,-60,-1,-32,7,-47,-60,-24,0,-60,-60,-41,-60,-60,-60,27,-38,-60,-60,16,-30,-38,-60,-30,-27,-60,19 },
    { -24,-1,-23,-37,-6,-40,-39,-60,-18,-60,-54,-19,-13,-23,15,-10,-60,-19,7,-2,-54,-60,-36,-60,-54,-33,33 },
    { 6, -46, -46, -46, 33, -46, -46, -24, 1, -46, -24, -4, -46, -46, 1, -46, -46, -46, -33, -46, -24, -46, -46, -46, -15, 5, 8 },
    { 15, 1, 5, -3, -1, 4, -8, -5, 7, -26, -22, -2, 1, -7, 4, 5, -27, -3, 9, 14, -12, -15, 4, -37, -13, -45, -60 },
};
