"""Words of other languages (for `answer.py` and `bounds.py`): "the answer", "is", "is not", "at least".

Each is a part of a pattern. Those of Chinese, Japanese and Korean stand apart: no space follows them.
"""

ANSWER = (
    r"r[ée]ponses?(?: finale)?|respuestas?(?: final)?|respostas?(?: final)?|rispost[ae](?: finale)?"
    r"|(?:end)?antwort(?:en)?|(?:eind)?antwoord|odpowied[źz]|odpověď|svar(?:et)?|vastaus|cevap|yanıt"
    r"|đáp (?:án|số)|câu trả lời|jawaban(?:nya)?|ответ|відповідь|απάντηση|उत्तर|الجواب|الإجابة|الاجابة"
)
IS = r"(?:est|es|é|è|ist|lautet|is|jest|je|är|er|on|là|adalah|है|هي|هو|είναι)(?!\w)"
NOT = (  # directly before the value
    r"(?:n['’](?:est|était|égale)\spas|ne\s(?:vaut|fait|peut)\spas(?:\sêtre)?|(?:no|não|non)\s(?:es|son|é|è|são|sono)"
    r"|no\spuede\sser|não\spode\sser|non\spuò\sessere|pas|nicht|kein\w{0,2}|niet|inte|ikke|nie(?:\sjest)?|není"
    r"|không\sphải(?:\slà)?|bukan|не(?:\s(?:равен|равно|равна|является))?|ليس|ليست|δεν\sείναι)"
)
BOUND = (
    r"(?:au\s(?:moins|plus|minimum|maximum)|(?:plus|moins)\sde|plus\s(?:grande?|petite?)\sque"
    r"|(?:inf|sup)érieure?\s(?:ou\ségale?\s)?à|jusqu['’]à"
    r"|al\smenos|por\slo\smenos|como\s(?:mínimo|máximo)|a\slo\s(?:sumo|más)|(?:más|menos)\s(?:de|que)"
    r"|(?:mayor|menor)(?:\so\sigual)?\s(?:que|a)|pelo\smenos|no\s(?:mínimo|máximo)|(?:mais|menos)\s(?:de|do\sque)"
    r"|(?:maior|menor)(?:\sou\sigual)?\s(?:que|do\sque|a)|almeno|al\s(?:massimo|più|minimo)|più\sdi|meno\sdi"
    r"|(?:maggiore|minore)(?:\so\suguale)?\s(?:di|a)|mindestens|höchstens|wenigstens|maximal|minimal"
    r"|(?:mehr|weniger|größer|kleiner|höher)(?:\soder\sgleich)?\sals|größer\sgleich|kleiner\sgleich|bis\szu"
    r"|minstens|hoogstens|ten\sminste|(?:meer|minder|groter|kleiner)\sdan|co\s(?:najmniej|najwyżej)|(?:więcej|mniej)\sniż"
    r"|(?:не\s)?(?:меньше|больше|менее|более|выше|ниже)(?:\sчем)?|(?:как\s)?(?:минимум|максимум)"
    r"|ít\snhất|nhiều\snhất|(?:lớn|nhỏ)\shơn|setidaknya|paling\s(?:sedikit|banyak)|(?:lebih|kurang)\sdari|en\saz|en\sfazla)"
)
CJK_NOT = "(?:不是|并非|並非|绝非|不为|不為|不等于|不等於|不会是|不會是|不可能是)"
CJK_BOUND = (
    "(?:[不]?(?:大于|小于|大於|小於|高于|低于|多于|少于|超过|超過)(?:或?等于)?|至少|至多|最多|最少|不到|不足"
    "|少なくとも|多くとも|최소|최대|적어도)[为是有]?"
)
BEHIND_NOT = r"\s{0,2}(?:ではな|ではありません|じゃな|でない|[이가]\s?아니|değil|नहीं)"  # behind the value
