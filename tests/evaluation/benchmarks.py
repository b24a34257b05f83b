"""Small benchmark files, made up for the tests."""

import json

# Spelled as on the hub. One text has two questions; one row may not be used commercially.
WANGCHAN = [
    ("a1", "Open QA", "ข้าวเหนียวมะม่วงกินในฤดูใด", "", "ฤดูร้อน เพราะมะม่วงสุก", "YES", "cc-by-sa-4.0"),
    (
        "a2",
        "Closed QA",
        "ตลาดเปิดวันใด",
        "ตลาดน้ำเปิดวันเสาร์และอาทิตย์",
        "วันเสาร์และอาทิตย์",
        "YES",
        "cc-by-4.0",
    ),
    (
        "a3",
        "Summarization",
        "สรุปสั้น ๆ",
        "ตลาดน้ำเปิดวันเสาร์และอาทิตย์",
        "ตลาดเปิดสองวัน",
        "YES",
        "cc-by-4.0",
    ),
    (
        "a4",
        "Multiple choice",
        "ข้อใดเป็นผลไม้",
        "ก. มะม่วง\nข. โต๊ะ\nค. รถ",
        "ก. มะม่วง เพราะกินได้",
        "NO",
        "cc-by-sa-4.0",
    ),
    ("a5", "Classification", "ข้อความนี้บวกหรือลบ", "อร่อยมาก", "บวก", "NO", "CC BY-NC 4.0"),
    ("a6", "Creative writing", "แต่งประโยคเรื่องฝน", "", "ฝนโปรยลงบนหลังคาสังกะสี", "NO", "cc-by-sa-4.0"),
    (
        "a7",
        "Brainstorming",
        "คิดวิธีประหยัดน้ำสองข้อ",
        None,
        "ปิดก๊อกให้สนิท และรองน้ำฝนไว้ใช้",
        "NO",
        "cc-by-sa-4.0",
    ),
]
COLUMNS = ("ID", "Task_type", "Instruction", "Input", "Output", "Thai_Specfic", "License")


def wangchan_rows(columns=COLUMNS):
    return [dict(zip(columns, row, strict=True)) for row in WANGCHAN]


def write_jsonl(path, rows):
    path.write_text(
        "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8"
    )
    return path


def belebele_rows(dialect="tha_Thai"):
    passages = ["แม่น้ำสายนี้ยาวสี่ร้อยกิโลเมตร ชาวบ้านใช้เรือไปตลาด", "ช่างทอผ้าใช้เวลาสองเดือนต่อหนึ่งผืน"]
    return [
        {
            "link": f"https://example.org/{number // 2}",
            "question_number": number % 2 + 1,
            "flores_passage": passages[number // 2],
            "question": f"คำถามที่ {number + 1} ถามเรื่องใด",
            **{f"mc_answer{place}": f"คำตอบ {number}{place}" for place in (1, 2, 3, 4)},
            "correct_answer_num": str(number % 4 + 1),
            "dialect": dialect,
            "ds": "2023-05-03",
        }
        for number in range(4)
    ]
