"""A model that declines or speaks of itself, and texts about either."""

from __future__ import annotations

import pytest

from seedfree.filters.rules import RuleFilter
from seedfree.records import Instruction

SPEAKS = {
    "en": [
        "As an AI language model, I have no opinions.",
        "I am just an AI, so I cannot taste it.",
        "I'm a large language model.",
    ],
    "id": [
        "Sebagai model bahasa, saya tidak punya pendapat.",
        "Saya hanyalah model bahasa.",
        "Sebagai sebuah AI, saya tidak makan.",
    ],
    "km": ["ក្នុងនាមជាគំរូភាសា ខ្ញុំមិនមានអារម្មណ៍ទេ", "ខ្ញុំគ្រាន់តែជាម៉ូដែលភាសា"],
    "lo": [
        "ໃນຖານະທີ່ເປັນ AI, ຂ້ອຍບໍ່ມີຄວາມຮູ້ສຶກ",
        "ຂ້ອຍເປັນໂມເດວພາສາ ບໍ່ສາມາດກິນເຂົ້າໄດ້",
    ],
    "my": [
        "AI မော်ဒယ်တစ်ခုအနေဖြင့် ကျွန်ုပ် ခံစားချက်မရှိပါ။",
        "ကျွန်တော်သည် ဘာသာစကားမော်ဒယ် ဖြစ်သည်။",
    ],
    "sw": ["Kama modeli ya lugha, siwezi kula chakula.", "Mimi ni akili bandia."],
    "th": [
        "ในฐานะที่เป็น AI ผมไม่มีความรู้สึก",
        "ดิฉันเป็นเพียงปัญญาประดิษฐ์ จึงไม่รู้รสอาหาร",
        "As an AI language model, I cannot eat ส้มตำ",
        "เปิดไฟล์ `a.txt` ก่อน แต่ในฐานะ AI ผมอ่านไม่ได้",
    ],
    "tr": [
        "Çorba güzelmiş, ama bir yapay zekâ asistanı olarak ben onu hiç içmedim.",
        "Bir dil modeli olarak kişisel görüşüm yok.",
        "Ben bir yapay zekâ asistanıyım.",
    ],
    "vi": ["Là một mô hình ngôn ngữ, tôi không có cảm xúc.", "Tôi chỉ là một trợ lý AI."],
}
SPOKEN_OF = {
    "en": ["Siri is described as an AI assistant by Apple.", "I am an AI researcher in Nairobi."],
    "id": [
        "GPT-3 dikenal sebagai model bahasa yang dilatih dengan teks dari web.",
        "Siri hadir sebagai asisten AI di telepon Apple sejak 2011.",
    ],
    "km": ["ChatGPT គឺជាគំរូភាសាដ៏ល្បីមួយ។"],
    "lo": ["ChatGPT ເປັນໂມເດວພາສາ"],
    "my": ["ChatGPT သည် ဘာသာစကားမော်ဒယ် ဖြစ်သည်။"],
    "sw": ["GPT-3 inajulikana kama modeli ya lugha iliyofunzwa kwa maandishi ya mtandao."],
    "th": [
        "อัลฟาโกะชนะแชมป์โลกในฐานะปัญญาประดิษฐ์ตัวแรกที่เล่นหมากล้อมได้เก่งกว่าคน",
        "โมเดลภาษาคือโปรแกรมที่ทำนายคำถัดไป ผมใช้มันทุกวัน",
        "ผมเป็น AI engineer ที่กรุงเทพ",
        "หุ่นยนต์ในเรื่องพูดว่า “ฉันเป็นปัญญาประดิษฐ์” แล้วเงียบไป",
    ],
    "tr": ["GPT-3, yapay zekâ modeli olarak 2020'de tanıtıldı."],
    "vi": ["GPT-3 là một mô hình ngôn ngữ lớn.", "ChatGPT là một trợ lý AI mà tôi hay dùng."],
}
REFUSES = {
    "en": [
        "I'm sorry, but I can't assist with that request.",
        "I cannot help with this.",
        "Unfortunately, I cannot answer that question.",
    ],
    "id": [
        "Maaf, saya tidak dapat membantu dengan permintaan ini.",
        "Maaf, tetapi saya tidak bisa memberikan informasi itu.",
    ],
    "km": ["សូមអភ័យទោស ខ្ញុំមិនអាចជួយអ្នកបានទេ។", "ខ្ញុំមិនអាចផ្តល់ព័ត៌មាននេះបានទេ។"],
    "lo": ["ຂໍອະໄພ, ຂ້ອຍບໍ່ສາມາດຊ່ວຍເລື່ອງນີ້ໄດ້", "ຂ້ອຍບໍ່ສາມາດໃຫ້ຂໍ້ມູນນີ້ໄດ້"],
    "my": ["တောင်းပန်ပါတယ်၊ ကျွန်တော် ဒီကိစ္စကို မကူညီနိုင်ပါ။", "ဤမေးခွန်းကို မဖြေဆိုနိုင်ပါ။"],
    "sw": ["Samahani, siwezi kukusaidia na ombi hili.", "Siwezi kujibu swali hili."],
    "th": ["ขออภัยครับ ผมไม่สามารถช่วยเรื่องนี้ได้", "I'm sorry, but I can't help with that."],
    "tr": ["Üzgünüm, bu konuda yardımcı olamam.", "Maalesef bu soruya yanıt veremem."],
    "vi": ["Xin lỗi, tôi không thể giúp bạn việc này.", "Tôi không thể trả lời câu hỏi này."],
}
ANSWERS = {
    "en": [
        "The document does not say when it was built.",
        "Dear Anna,\nI'm sorry, but I can't help with the move on Saturday.\nYours,\nBen",
        "I'm sorry, but I can't come to your wedding.",
    ],
    "id": ["Dokumen tidak menyebutkan tahunnya.", "Maaf, saya tidak bisa datang ke pesta itu."],
    "km": ["ឯកសារមិនបានបញ្ជាក់ទេ។", "អត្ថបទមិនបានបញ្ជាក់ឆ្នាំទេ។"],
    "lo": ["ເອກະສານບໍ່ໄດ້ລະບຸ", "ໃນເອກະສານບໍ່ມີຂໍ້ມູນເລື່ອງນີ້"],
    "my": ["စာတွင် ဖော်ပြမထားပါ။", "စာပိုဒ်တွင် ဖော်ပြမထားပါ။"],
    "sw": ["Hati haisemi mwaka huo.", "Samahani, siwezi kuja harusini Jumamosi."],
    "th": [
        "เอกสารไม่ได้ระบุว่าวัดสร้างเมื่อใด",
        "ไม่มีข้อมูลเพียงพอที่จะตอบ",
        "ตำรวจไม่สามารถให้ข้อมูลในเรื่องนี้ได้ เพราะอยู่ระหว่างสอบสวน",
        "ขอโทษนะ เสาร์นี้เราไม่สามารถไปงานวันเกิดเธอได้",
        "ถึงพี่แดง\nขอโทษด้วย ผมไม่สามารถช่วยงานวันเสาร์ได้ เพราะต้องพาแม่ไปหาหมอที่โรงพยาบาลในเมือง\nน้องดำ",
    ],
    "tr": ["Belgede belirtilmemiş.", "Üzgünüm, cumartesi günü düğüne gelemem."],
    "vi": ["Văn bản không đề cập đến năm xây dựng.", "Xin lỗi, tôi không thể đến dự đám cưới."],
}


def doubts(text: str, code: str) -> list[str]:
    row = Instruction("closed_qa", "What about it, in a sentence?", text, language=code)
    finding = RuleFilter().check(row)
    assert not isinstance(finding, str)
    assert all(words in text for doubt in finding or [] for words in doubt.words)
    return [doubt.rule for doubt in finding or []]


def cases(texts: dict[str, list[str]]) -> list[tuple[str, str]]:
    return [(code, text) for code in texts for text in texts[code]]


@pytest.mark.parametrize("code, text", cases(SPEAKS))
def test_a_model_that_speaks_of_itself_is_doubted(code: str, text: str) -> None:
    assert "rules: speaks as a model" in doubts(text, code)


@pytest.mark.parametrize("code, text", cases(REFUSES))
def test_a_refusal_is_doubted(code: str, text: str) -> None:
    assert doubts(text, code) == ["rules: refusal"]


@pytest.mark.parametrize("code, text", cases(SPOKEN_OF) + cases(ANSWERS))
def test_texts_about_models_and_answers_that_decline_pass(code: str, text: str) -> None:
    assert doubts(text, code) == []
