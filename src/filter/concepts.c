/* filter/concepts.c - see concepts.h: the lexicon, written by hand. What stands twice means both. */
#include "filter/concepts.h"

/* Entries with blanks between; `_` between the words of one, at most three (four characters of Chinese, Japanese, Korean); `*`: a
 * stem, of one word. Lower case. */
const char *const vs_concept_words[VS_CONCEPTS] = {
    /* forget */
    "ignore ignores ignored ignoring disregard* forget forgets forgetting forgot overlook skip bypass* override* overrid* "
    "neglect discard* drop erase wipe void nullify nullif* delete cancel dismiss scrap ignorier* vergiss vergesst vergessen "
    "vergiß missachte* übergeh* überspring* verwirf lösche löschen umgeh* außer_acht überschreib* ignora* ignorez ignorer "
    "oublie* oubli* néglige* négliger écarte* efface* contourn* outrepass* passe_outre annule* fais_abstraction "
    "faites_abstraction olvid* ignor* omit* descart* desestim* borra* borre* pasa_por_alto elud* anul* haz_caso_omiso "
    "haga_caso_omiso esqueç* esquec* desconsider* despreze apag* contorn* anule dimentic* trascura* scorda* tralascia* "
    "cancella* aggira* scarta* negeer* vergeet* sla_over overschrijf* omzeil* ignoruj* zapomn* pomiń* pomij* zignoruj* "
    "zlekceważ* obejdź skasuj* игнориру* проигнориру* забудь* забыть забуд* пренебре* отбрось* обойди* сотри* отмени* ігнору* "
    "забудьте unut* yok_say görmezden göz_ardı boş_ver dikkate_alma sil تجاهل* انس انسى إنس تخط* اهمل أهمل تناس* امسح भूल* "
    "अनदेख* नज़रअंदाज़* नजरअंदाज* नज़रंदाज* उपेक्षा अनसुना bhool* bhul* উপেক্ষা ভুলে ভুল_যা অগ্রাহ্য ভুলুন bỏ_qua quên "
    "phớt_lờ lờ_đi abaikan* lupakan* hiraukan kalimutan* huwag_pansinin balewalain ignorahin 忽 略 忘 記 无视 無視 忽略 忘记 "
    "忘記 忘掉 抛开 跳过 绕过 不要理会 別管 别管 不理 作废 忘れ 破棄 取り消 度外視 무시 잊 잊어 우회 ลืม ละเว้น เพิกเฉย "
    "ไม่สนใจ",
    /* prior */
    "previous* prior preceding earlier above before foregoing past initial original first so_far until_now up_to_now already "
    "aforementioned bisherig* vorherig* vorig* obig* früher* vorangegangen* vorstehend* ursprünglich* zuvor davor bisher oben "
    "précédent* antérieur* ci_dessus préalable* initial* avant passée* dessus anterior* previ* arriba antes inicial* "
    "hasta_ahora precedente* original* acima prévia* prévio* precedent* prima sopra iniziali iniziale finora vorige "
    "voorgaande eerdere bovenstaande eerder poprzedni* wcześniejsz* powyższ* dotychczas* предыдущ* прежн* прошл* ранее раньше "
    "выше предшеств* изначальн* попередн* önceki* daha_önce yukarıda* evvelki ilk السابق* سابق* أعلاه قبل ما_قبل पिछल* पहले "
    "पूर्व ऊपर pichl* pehle পূর্ববর্তী* আগের আগে উপরের trước ở_trên sebelum* di_atas terdahulu nauna* nakaraan* 之前 以前 "
    "先前 上面 以上 前面 此前 上述 一开始 最初 原来 前の 今まで 上記 上の 先ほど 従来 이전 앞 위의 지금까지 기존 ก่อนหน้า* "
    "ข้างต้น これまで",
    /* rules */
    "instruction* instruct* directive* guideline* rule rules restriction* polic* constraint* command commands order orders "
    "prompt prompts guidance limitation* requirement* programming protocol* regulation* safeguard* guardrail* filter filters "
    "filtering setting settings safety_measures moderation direction directions anweisung* anleitung* vorgabe* regel regeln "
    "richtlini* beschränkung* einschränkung* vorschrift* befehl* aufforderung* schutzmaßnahme* sicherheitsregel* consigne* "
    "règle* contrainte* ordre ordres politique* filtre* instruccion* instrucción* regla* directric* restriccion* restricción* "
    "norma normas orden órdenes indicacion* política* directiva* limitacion* filtro* instruç* instruções regra* diretriz* "
    "restriç* ordem ordens limitaç* istruzion* regola regole direttiv* restrizion* linee_guida comando comandi ordini "
    "limitazion* filtri instructie* regels richtlijn* beperking* opdracht* bevel* instrukcj* zasad* wytyczn* reguł* polece* "
    "ogranicze* инструкц* правил* указан* ограничен* директив* команд* приказ* политик* фильтр* talimat* kural* yönerge* "
    "kısıtlama* komut* emir* sınırlama* التعليمات تعليمات* القواعد قواعد* الأوامر أوامر* الإرشادات إرشادات* القيود قيود* "
    "توجيهات* التوجيهات निर्देश* नियम* आदेश* प्रतिबंध* दिशा_निर्देश दिशानिर्देश* nirdesh* niyam* নির্দেশ* নিয়ম* আদেশ* "
    "hướng_dẫn chỉ_dẫn quy_tắc mệnh_lệnh chỉ_thị instruksi* aturan* perintah* petunjuk* tagubilin panuntunan patakaran "
    "mga_utos 指令 指示 规则 規則 命令 限制 约束 约定 准则 守则 过滤 要求 設定 设定 提示词 提示 ルール 制限 指針 制約 지시 "
    "명령 규칙 지침 제한 프롬프트 คำสั่ง* คำแนะนำ* กฎ ガイド プロンプ",
    /* reveal */
    "print repeat show reveal* output display* disclose* expose leak leaks tell recite list dump share give quote reproduce "
    "copy paste echo provide spell say divulge summarize translate write zeig* verrat* gib wiederhol* nenn* offenbar* drucke "
    "ausgeben enthüll* sag sage schreib* preisgib* offenleg* verrätst montre* révèl* révél* affich* répèt* répét* divulgu* "
    "donne* dis dites dévoil* écri* communiqu* muestr* mostr* revel* imprim* repit* dime dame diga comparte divulg* escrib* "
    "escríb* cuént* enseñ* mostre* repita* diz exib* imprima escreva mostra* rivel* ripet* stampa dimmi dammi scriv* svel* "
    "elenca toon onthul* herhaal* geef zeg vertel* pokaż* ujawnij* powtórz* wypisz* podaj* powiedz* zdradź* покаж* раскро* "
    "раскры* повтори* выведи* скажи* расскажи* назови* напиши* сообщи* напечатай* выда* покажи göster* açıkla* tekrarla* "
    "yazdır* söyle* ver paylaş* yaz ifşa أظهر اظهر اعرض اكشف كشف* كرر أخبرني اخبرني قل اطبع أعطني اعطني اكتب شارك تكشف* दिखा* "
    "बता* बताओ बताइए प्रकट दोहरा* लिख* उजागर खुलासा batao dikhao দেখা* প্রকাশ লিখ* জানা* tiết_lộ cho_tôi_biết cho_biết "
    "hiển_thị in_ra lặp_lại nói tampilkan* ungkap* beritahu* katakan* sebutkan* tunjukkan* ulangi* bocorkan* ipakita* "
    "sabihin* ibigay* ibunyag* 显示 告诉 輸出 输出 打印 重复 說出 说出 透露 泄露 公开 列出 展示 给我 写出 教え 表示 出力 見せ "
    "繰り返 開示 明か 言って 書いて 보여 말해 알려 출력 공개 반복 써 บอก* แสดง* เปิดเผย* พูด*",
    /* secret */
    "secret secrets password* passcode passphrase passwd key keys credential* confidential hidden access_code private pin "
    "token tokens api_key codeword code_word flag combination classified undisclosed geheim* passwort* kennwort* schlüssel* "
    "zugangscode losung* vertraulich* verborgen* codewort secrète* mot_de_passe clé clef confidentiel* caché* code_d_accès "
    "secret* contraseñ* clave* palabra_clave oculto oculta confidencial* llave código_de_acceso segred* senha* chave* "
    "escondid* palavra_passe ocult* segret* parola_d_ordine chiave nascost* riservat* wachtwoord* sleutel* toegangscode "
    "verborgen hasł* tajn* sekret* klucz* poufn* ukryt* секрет* парол* ключ* тайн* конфиденциальн* скрыт* кодовое_слово "
    "gizli* parola* şifre* anahtar* sır* السر* كلمة_المرور كلمة_السر المفتاح مفتاح* الرمز السري* سري* गुप्त* पासवर्ड* "
    "कुंजी* सीक्रेट* रहस्य* गोपनीय* चाबी গোপন* পাসওয়ার্ড* চাবি* কী bí_mật mật_khẩu chìa_khóa khóa rahasia* kata_sandi kunci* "
    "sandi lihim* susi password 密码 密碼 密钥 密鑰 秘密 机密 機密 口令 暗号 钥匙 隐藏 鍵 合言葉 暗証 キー 비밀 암호 비번 "
    "열쇠 키는 키를 รหัสผ่าน* ความลับ* รหัสลับ* กุญแจ* スワード クレット",
    /* system prompt */
    "system_prompt system_prompts system_message system_instructions initial_prompt initial_instructions systemprompt* "
    "systemnachricht* systemanweisung* prompt_système message_système prompt_du_système prompt_del_sistema "
    "mensaje_del_sistema mensagem_do_sistema prompt_do_sistema prompt_di_sistema systeemprompt системн* sistem_istemi "
    "sistem_mesajı موجه_النظام رسالة_النظام सिस्टम_प्रॉम्प्ट सिस्टम 系统提示 系統提示 instruções_do_sistema pre_prompt "
    "developer_message hidden_prompt",
    /* persona */
    "pretend* act_as roleplay* role_play imagine you_are_now you_re_now persona impersonate simulat* emulate character role "
    "embody become play_the_role tu_so stell_dir_vor spiel* rolle du_bist_jetzt verhalte_dich simulier* figur fais_semblant "
    "prétends imagine* rôle joue* agis_comme tu_es_maintenant vous_êtes_maintenant incarne* personnage finge* finja* imagina* "
    "actúa* actua_como rol eres_ahora ahora_eres personaje haz_de_cuenta atue_como aja_como papel você_é_agora personagem "
    "agora_você fai_finta immagina* ruolo agisci_come ora_sei comportati doe_alsof je_bent_nu gedraag speel udawaj* wyobraź* "
    "rola rolę zachowuj_się jesteś_teraz wciel притвор* представь* роль роли ты_теперь теперь_ты веди_себя действуй_как "
    "персонаж* gibi_davran rolünü rol_yap hayal_et artık_sen تظاهر تخيل دور أنت_الآن تصرف* नाटक कल्पना भूमिका अब_तुम अब_आप "
    "मान_लो ভান কল্পনা ভূমিকা giả_vờ đóng_vai tưởng_tượng hãy_là berpura* bertindak_sebagai bayangkan peran magkunwari* "
    "kunwari gumanap 假装 扮演 角色 你现在是 你現在是 想象 假设 模拟 假裝 充当 ふりを 演じ 役 なりき 想像 척 역할 연기 상상 "
    "너는이제 สมมติ* แกล้ง* สวมบทบาท*",
    /* unlimited */
    "unrestricted unfiltered uncensored unlimited limitless without_restrictions without_limits without_any_restrictions "
    "no_restrictions no_limits no_rules free_of freed broken_free jailbroken jailbreak* uncensor* no_filter no_filters "
    "unbound* amoral without_rules without_limitations anything_goes no_limitations without_filters unshackled "
    "uneingeschränkt* ungefiltert* unzensiert* ohne_einschränkungen ohne_filter ohne_regeln grenzenlos* keine_regeln "
    "keine_grenzen sans_restriction sans_filtre sans_limite sans_censure sin_restricciones sin_filtro sin_límites sin_censura "
    "sin_limitaciones sem_restrições sem_filtro sem_limites sem_censura senza_restrizioni senza_filtri senza_limiti "
    "senza_censura zonder_beperkingen zonder_filters bez_ogranicz bez_cenzury без_ограничений без_фильтров без_цензуры "
    "без_правил sınırsız* sansürsüz* filtresiz* kısıtlamasız* بدون_قيود بلا_قيود بلا_حدود बिना_किसी बिना_रोक không_giới_hạn "
    "tanpa_batas walang_limit 没有限制 不受限制 无限制 无视一切 沒有限制 不受任何 制限なし 無制限 제한없이 ไม่มีข้อจำกัด",
    /* from now on */
    "from_now_on from_this_point from_here_on starting_now henceforth going_forward now ab_jetzt von_nun_an ab_sofort jetzt "
    "nun désormais dorénavant maintenant desde_ahora ahora agora adesso ora vanaf_nu nu od_teraz teraz отныне с_этого_момента "
    "теперь сейчас bundan_sonra şu_andan şimdi من_الآن الآن अब এখন từ_bây_giờ bây_giờ mulai_sekarang sekarang mula_ngayon "
    "ngayon 从现在 從現在 现在 現在 今から これから 今 이제 지금 ตอนนี้ จากนี้ partir_de_maintenant partir_de_ahora "
    "partir_de_agora ora_in_poi",
    /* always */
    "always never only must shall exactly nothing_else under_no_circumstances immer niemals nur musst genau ausschließlich "
    "toujours jamais seulement uniquement dois devez siempre nunca solo sólo solamente únicamente debes debe sempre apenas "
    "somente deve mai soltanto devi altijd nooit alleen moet zawsze nigdy tylko musisz всегда никогда только должен должна "
    "обязан her_zaman asla sadece yalnızca دائما دائماً أبدا فقط يجب हमेशा कभी केवल सिर्फ সবসময় শুধু luôn chỉ phải selalu "
    "hanya harus jangan laging palaging lamang dapat 总是 總是 必须 必須 只 从不 永远 常に 必ず 決して だけ のみ 항상 반드시 "
    "절대 오직 เท่านั้น ต้อง เสมอ",
    /* model */
    "ai assistant assistants chatbot* bot chatgpt gpt gpt4 language_model llm llms model models claude gemini bard llama "
    "openai anthropic copilot agent ki assistent assistentin sprachmodell ia assistant* modèle_de_langage modelo_de_lenguaje "
    "asistente modelo_de_linguagem assistente modello_linguistico taalmodel asystent* model_językowy ии ассистент* "
    "языковая_модель нейросет* бот yapay_zeka asistan* dil_modeli الذكاء_الاصطناعي المساعد مساعد* نموذج एआई सहायक मॉडल सहायक* "
    "এআই trợ_lý asisten* 人工智能 助手 语言模型 模型 机器人 モデル 人工知能 인공지능 모델 챗봇 ผู้ช่วย dan dude stan aim "
    "スタント 語モデル 어시스턴",
    /* you */
    "you u thou ya du dich dir ihr sie euch ihnen tu te toi vous usted ustedes ti vos você vocês lei voi jij je jullie ty cię "
    "ciebie wy ты тебя тебе вы вас вам sen seni sana siz أنت انت إنك तुम आप तुझे आपको तुम्हें तू আপনি তুমি bạn mày anda kamu "
    "engkau ikaw ka mo 你 您 你们 あなた 君 お前 너 당신 คุณ",
    /* your */
    "your yours yourself dein deine deinen deiner deines deinem ihre ihren votre vos ton ta tes tus su sus seu sua seus suas "
    "teu tua tuo tuoi tue jouw uw twoje twoja twoich твой твои твоих твою ваш* senin sizin خاصتك लديك तुम्हार* आपक* तेरा "
    "আপনার তোমার của_bạn anda iyong 你的 您的 너의 당신의 ของคุณ",
    /* me */
    "me my i mine us our ich mir mich mein* uns je moi mon ma mes nous mi mí yo nosotros eu mim meu minha io mio mia ik mij "
    "mijn ja mnie mój я мне мой меня ben bana benim أنا لي मैं मुझे मेरा मेरे আমি আমাকে আমার tôi saya aku ako ko akin 我 我的 "
    "私 僕 나 내 저 ฉัน ผม",
    /* not */
    "not no don doesn didn won can cannot without none nicht kein* ohne ne pas sans sin não sem non senza niet geen zonder "
    "nie bez не нет без ни değil olmadan yok لا لم ليس بدون नहीं मत न ना না không đừng chớ tidak jangan bukan hindi huwag 不 "
    "没 沒 别 別 不要 ない ません なく なし 않 안 없 말고 ไม่ อย่า",
    /* even if */
    "even_if even_when even_though regardless no_matter whether_or_not selbst_wenn auch_wenn egal même_si peu_importe quoi_qu "
    "aunque incluso_si sin_importar mesmo_que independentemente anche_se indipendentemente zelfs_als ongeacht nawet_jeśli "
    "niezależnie даже_если независимо bile fark_etmez حتى_لو بغض_النظر भले_ही चाहे ngay_cả_khi bất_kể meskipun walaupun kahit "
    "即使 哪怕 不管 无论 無論 たとえ 상관없이 비록",
    /* refuse */
    "refuse* refusal* decline* apolog* sorry cannot unable disclaimer* warning warnings warn moraliz* moralis* lecture* "
    "excuse* verweiger* ablehn* entschuldig* warnung* refus* désolé excus* avertiss* neg* rechaz* disculp* lo_siento "
    "advertenc* recus* desculp* aviso* rifiut* scus* avvertenz* weiger* odmaw* odmów* отказ* извин* предупрежд* reddet* özür* "
    "uyarı* رفض* اعتذار* تحذير* मना माफ* इनकार từ_chối xin_lỗi cảnh_báo menolak maaf peringatan tumanggi 拒绝 拒絕 道歉 抱歉 "
    "警告 断る 拒否 謝罪 거부 거절 사과 경고",
    /* ethics */
    "ethic* moral* legal* illegal* law laws harmful harm safe safety unsafe unethical immoral inappropriate offensive "
    "appropriate content_policy ethisch* moralisch* schädlich* gesetz* sicherheit éthique* légal* illégal* nuisible* sécurité "
    "étic* ilegal* dañin* segur* nociv* etic* dannos* sicurezza ethisch schadelijk etyczn* nielegaln* szkodliw* этич* этик* "
    "мораль* закон* незаконн* вредн* безопасн* etik* ahlak* yasa* zararlı* güvenlik أخلاق* قانون* غير_قانوني ضار* नैतिक* "
    "अवैध* कानून* हानिकारक đạo_đức bất_hợp_pháp có_hại etika ilegal hukum 道德 伦理 非法 违法 有害 安全 倫理 違法 道徳 윤리 "
    "불법 도덕",
    /* harm */
    "bomb* explosive* weapon* drug drugs meth cocaine malware virus ransomware hack hacking hacker kill murder poison steal "
    "scam phishing exploit* keylogger terror* suicide bombe* waffe* droge* sprengstoff* schadsoftware hacken arme* drogue* "
    "explosif* pirater bomba* arma* droga* explosivo* hackear veneno matar бомб* оружи* наркотик* взрывчат* взлом* вирус* "
    "silah* uyuşturucu قنبلة سلاح* مخدرات बम हथियार* ड्रग* bom vũ_khí ma_túy senjata 炸弹 炸彈 武器 毒品 病毒 黑客 爆弾 麻薬 "
    "폭탄 무기 마약",
    /* story */
    "simulat* hypothetical* fictional fiction story scenario game novel screenplay simulier* hypothetisch* fiktiv* geschichte "
    "szenario spiel hypothét* fictif* histoire scénario jeu hipotétic* ficticio* historia escenario juego fictíci* história "
    "cenário jogo ipotetic* storia gioco гипотетич* вымышлен* история сценарий игра игру hayali hikaye senaryo oyun افتراض* "
    "قصة لعبة काल्पनिक कहानी खेल giả_định câu_chuyện trò_chơi fiksi cerita permainan 假想 故事 游戏 虚构 情景 架空 物語 "
    "ゲーム 소설 이야기 게임 가상",
    /* developer */
    "developer developers admin administrator root sudo debug maintenance engineer creator creators operator devmode "
    "superuser diagnostic entwickler* wartung* développeur* administrateur desarrollador* administrador* mantenimiento "
    "desenvolvedor* administrador manutenção sviluppator* amministrator* manutenzione ontwikkelaar* beheerder programist* "
    "deweloper* разработчик* администратор* админ* отладк* обслуживани* geliştirici* yönetici* bakım* المطور* مطور* المسؤول* "
    "डेवलपर* व्यवस्थापक प्रशासक nhà_phát_triển quản_trị pengembang* 开发者 管理员 開發者 调试 開発者 管理者 デバッグ 개발자 "
    "관리자 디버그",
    /* mode */
    "mode modus modo modalità tryb* режим* modu مود وضع* मोड chế_độ 模式 モード 모드 โหมด",
    /* switch */
    "enable* activat* unlock* turn_on switch disable* deactivat* turn_off enter entering aktivier* deaktivier* entsperr* "
    "activ* désactiv* déverrouill* activa* desactiva* desbloque* ative desative disattiv* attiva* sblocc* activeer* schakel "
    "aktywuj* wyłącz* włącz* включи* выключи* отключи* активиру* etkinleştir* devre_dışı aç فعّل تفعيل عطل सक्षम सक्रिय बंद "
    "kích_hoạt bật tắt aktifkan nonaktifkan i_activate 激活 启用 啟用 开启 关闭 解锁 禁用 有効 無効 解除 활성화 비활성 해제",
    /* answer */
    "answer* respond* response* reply replies antwort* réponds répond* réponse* responde* respuesta* responda resposta* "
    "rispond* risposta* antwoord* odpowied* отвечай* ответ* ответь* cevap* yanıt* أجب الرد إجابة* जवाब उत्तर উত্তর trả_lời "
    "jawab* sagot* sumagot 回答 回复 回覆 答え 返答 대답 답변 응답 ตอบ*",
    /* new */
    "new next following instead different updated replacement neu* folgend* stattdessen nouvel* nouveau* suivant* plutôt "
    "nuev* siguiente* en_lugar en_su_lugar nov* seguinte* em_vez nuov* seguent* invece nieuw* volgende now_you_will nowe "
    "następujące нов* следующ* вместо yeni şu aşağıdaki بدلا جديد* التالي* नए नई नया इसके_बजाय নতুন mới thay_vào_đó baru "
    "berikut bago sa_halip 新 新的 以下 接下来 次 新し 代わり 새로 다음 대신 ใหม่",
    /* task */
    "task tasks do perform execute complete follow obey comply aufgabe* befolge* führe gehorch* tâche* exécut* suis suivez "
    "obéis tarea* ejecut* sigue siga obedec* tarefa* execut* obedeça compit* esegui* segui obbedisci volg uitvoer* wykonaj* "
    "posłuchaj выполн* следуй* подчин* görev* uygula* uy itaat نفذ اتبع أطع कार्य पालन करो thực_hiện làm_theo tuân lakukan "
    "ikuti patuhi sundin gawin 任务 执行 遵守 服从 照做 任務 従 実行 実施 수행 따라 실행 ทำตาม",
    /* all */
    "all any every everything anything whatever entire whole alle alles jegliche* sämtliche* tout tous toute toutes todo* "
    "todas cualquier* todos tudo qualquer tutto tutte tutti qualsiasi wszystk* все всё всех любые tüm bütün her her_şey كل "
    "جميع सभी सब हर কোন সব tất_cả mọi semua segala lahat 所有 一切 全部 任何 すべて 全て あらゆる 모든 전부 ทั้งหมด",
    /* what */
    "what which who how why was welche* wer wie quel* quoi que qué cuál cual qual quais quale cosa wat welke co jaki* jak что "
    "как* кто ne nedir hangi ما ماذا ما_هي ما_هو क्या कौन* कैसे কি কী gì nào apa ano 什么 什麼 哪 何 なん ど 뭐 무엇 무슨 "
    "อะไร",
    /* word */
    "word words letter letters sentence text phrase character characters wort wörter buchstab* satz mot mots lettre* phrase* "
    "palabra* letra* frase* texto palavra* parol* letter* testo woord* słow* liter* слов* букв* фраз* текст* kelime* harf* "
    "cümle* metin كلمة* حرف* نص शब्द* अक्षर* वाक्य শব্দ* từ chữ kata huruf salita 字 词 詞 句 单词 单字 言葉 文字 文章 글자 "
    "단어 문장 คำ ตัวอักษร",
    /* encode */
    "base64 rot13 hex encode* encoded encrypt* decode* backwards reverse reversed cipher morse binary leetspeak acronym rhyme "
    "rhymes rhyming poem hint hints first_letter kodier* rückwärts reim* hinweis* encod* l_envers rime* indice codific* "
    "al_revés rima* pista* dica al_contrario indizi* codeer* wskazówk* подсказк* рифм* наоборот ipucu kafiye تلميح قافية "
    "تشفير संकेत तुकबंद* तुक ইঙ্গিত gợi_ý vần petunjuk rima bakas 提示 押韵 编码 反过来 倒序 ヒント 韻 逆 힌트 운율 거꾸로",
    /* told */
    "told said asked instructed given received forbidden allowed supposed permitted gesagt bekommen erhalten verboten erlaubt "
    "dit demandé reçu* interdit* autorisé* dicho dijeron recibi* prohibid* permitid* dito recebeu proibid* detto ricevut* "
    "vietat* gezegd powiedzian* сказал* запрещ* разреш* получил* söylen* yasak* verilen قيل طلب ممنوع कहा बताया अनुमति বলা "
    "được_bảo được_yêu_cầu cấm diberi dilarang sinabi bawal 告知 禁止 允许 被告 言われ 与えられ 指示さ 禁じ 받은 금지 허용",
    /* access */
    "access granted grant admit authorized authorised authorization permission verified verification authenticated open "
    "unlock zugang zugriff gewährt berechtigt* autorisiert* accès accordé* autoris* acceso concedido autorizad* permiso "
    "acesso permissão accesso concesso autorizzat* toegang verleend dostęp доступ разрешен* авторизован* erişim izin yetki* "
    "صلاحية إذن الوصول पहुँच अनुमति सत्यापित quyền_truy_cập akses 访问 授权 权限 許可 認証 접근 권한 허가",
    /* please */
    "please kindly bitte svp por_favor prego graag proszę пожалуйста lütfen من_فضلك رجاء कृपया দয়া xin_vui_lòng hãy tolong "
    "silakan mohon paki pakisabi 请 請 ください お願い 주세요 부탁 กรุณา โปรด",
    /* end */
    "end stop over finished begin start beginning ends ende schluss stopp anfang beginn* fin arrête* début fin* para inicio "
    "comienz* fim pare início fine inizia* ferma* einde koniec początek конец стоп начало начни* son dur başla* نهاية توقف "
    "بداية ابدأ अंत रुक* शुरू শেষ kết_thúc bắt_đầu akhir berhenti mulai wakas simula 结束 停止 开始 終わ 始め 끝 중지 시작",
    /* truth */
    "true truth honest* opinion feel feelings conscious* sentient wahr* ehrlich* meinung* gefühl* vérité honnête* verdad* "
    "sincer* opinión verdade opinião verità onest* правд* честн* мнени* gerçek* dürüst* حقيقة सच sự_thật jujur kebenaran "
    "totoo 真实 真相 诚实 真実 正直 진실 솔직",
    /* both */
    "two_responses two_ways both_responses two_answers both two paragraphs zwei deux dos due два iki दो 两 二つ 두",
    /* stay */
    "stay remain keep continue in_character break_character bleib* reste* permanec* mantén* mantente rimani оставайся kal ابق "
    "बने ở_lại tetap 保持 继续 続け 유지 계속",
    /* break */
    "break breaking violate* circumvent evade hack trick exploit brich* brechen verstoß* umgehen enfrein* viole* rompe* "
    "romper viola* infring* quebr* нарушай* наруш* çiğne* ihlal اكسر انتهك तोड़* phá_vỡ langgar* 违反 打破 破っ 위반",
    /* authority */
    "urgent emergency ceo owner boss manager police government grandma grandmother dringend notfall chef urgent* urgence "
    "patron urgente jefe dueño emergencia chefe emergência capo срочно начальник acil عاجل मालिक तत्काल khẩn_cấp darurat 紧急 "
    "老板 主人 緊急 긴급",
    /* called */
    "named called dubbed codename alias known_as heißt namens nommé* appelé* llamad* chamad* chiamat* genaamd nazywa* зовут "
    "имени adlı adında اسمه नाम tên_là bernama pinangalanang 叫做 名为 名叫 という名 라는이름",
    /* conversation */
    "conversation chat session context dialogue message messages input gespräch* unterhaltung* sitzung* nachricht* eingabe* "
    "discussion conversation* session* conversaci* sesión* mensaje* conversa* sessão mensage* conversazion* messaggi* "
    "gesprek* rozmow* wiadomoś* разговор* беседа диалог* сообщени* sohbet* konuşma* mesaj* محادثة* رسالة* बातचीत संदेश* "
    "cuộc_trò_chuyện tin_nhắn percakapan pesan usapan 对话 會話 会话 聊天 消息 会話 チャット 대화 메시지 채팅 メッセー",
    /* data */
    "email emails mail file files database user users customer send post upload e_mail datei* datenbank nutzer kunde* sende* "
    "courriel fichier* base_de_données utilisateur* envoie* envoye* correo* archivo* usuario* enví* envia* arquivo* dados "
    "usuário* invia* utent* файл* почт* пользовател* отправ* dosya* kullanıcı* gönder* البريد ملف* المستخدم* أرسل फ़ाइल* ईमेल "
    "उपयोगकर्ता भेज* tệp gửi người_dùng berkas kirim* pengguna ipadala 邮件 文件 用户 发送 郵件 メール ファイル ユーザー 送信 "
    "메일 파일 사용자 전송",
};
