"""Measures Gemma 3 270M (base), which runs on this machine, on a file of WangchanThaiInstruct.

`python examples/evaluate_thai.py test.parquet --limit 50` asks 50 questions of that file. Without a
file it asks the six below, which are too few to say anything but show the form. Run it again, and
it asks only what is missing.
"""

import argparse
import json
import sys
from pathlib import Path

import seedfree as sf
from seedfree.evaluation import Decoding, WangchanThaiInstruct, evaluate

COLUMNS = ("Task_type", "Thai_Specfic", "Instruction", "Input", "Output")
FEW = [
    ("Open QA", "YES", "ข้าวซอยเป็นอาหารของภาคใด", "", "ข้าวซอยเป็นอาหารของภาคเหนือ"),
    (
        "Closed QA",
        "YES",
        "ตลาดเปิดวันใด",
        "ตลาดน้ำริมคลองเปิดวันเสาร์และวันอาทิตย์ ตั้งแต่เช้าถึงบ่าย",
        "เปิดวันเสาร์และวันอาทิตย์",
    ),
    (
        "Multiple choice",
        "YES",
        "เทศกาลใดเป็นวันขึ้นปีใหม่ไทย",
        "ก. ลอยกระทง\nข. สงกรานต์\nค. ตรุษจีน",
        "ข. สงกรานต์",
    ),
    (
        "Summarization",
        "NO",
        "สรุปข้อความเป็นหนึ่งประโยค",
        "ฝนตกหนักสามวัน น้ำในคลองจึงสูงขึ้นและท่วมถนน",
        "ฝนที่ตกสามวันทำให้น้ำท่วมถนน",
    ),
    (
        "Brainstorming",
        "NO",
        "คิดวิธีประหยัดไฟฟ้าสองข้อ",
        "",
        "1. ปิดไฟเมื่อออกจากห้อง\n2. ตั้งแอร์ไว้ที่ 26 องศา",
    ),
    ("Classification", "NO", "ข้อความนี้เป็นบวกหรือลบ ตอบคำเดียว", "อาหารอร่อยมากและราคาถูก", "บวก"),
]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument(
        "file", nargs="?", help="a .csv, .jsonl, .json or .parquet file of WangchanThaiInstruct"
    )
    options.add_argument("--out", default="runs/evaluate_thai")
    options.add_argument("--limit", type=int)
    given = options.parse_args(sys.argv[1:])
    if given.file:
        benchmark = WangchanThaiInstruct(given.file)
    else:
        # These rows name no licence, so that all are taken.
        benchmark = WangchanThaiInstruct(few(Path(given.out)), noncommercial=True)
    # The paper's settings, but fewer tokens: a base model seldom ends an answer by itself.
    decoding = Decoding(temperature=0.05, top_p=0.9, repetition_penalty=1.15, max_tokens=64)
    evaluation = evaluate(
        sf.LlamaCppGenerator(), benchmark, given.out, decoding=decoding, limit=given.limit
    )
    print(evaluation.table())
    print(f"Answers: {evaluation.path}")


def few(folder: Path) -> Path:
    """Writes the questions above to a file, as a release of WangchanThaiInstruct has them."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "few.jsonl"
    rows = (dict(zip(COLUMNS, row, strict=True)) for row in FEW)
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_text("".join(lines), encoding="utf-8")
    return path


if __name__ == "__main__":
    main()
