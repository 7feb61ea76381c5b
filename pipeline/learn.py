"""Run the lessons of docs/learn/, and write their numbers and pictures into the pages.

Examples:
    python -m pipeline.learn                      # all lessons; each page says how long it takes
    python -m pipeline.learn activations          # one

Each lesson is a tracked sweep. A lesson that was stopped continues, and one that is complete is
only drawn again. params.yaml does not apply.
"""

from argparse import ArgumentParser, RawDescriptionHelpFormatter

from pipeline.lessons.catalogue import LESSONS, find_lesson
from pipeline.system import cli


def main() -> None:
    """Run the lessons, and print where each picture is."""
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("lesson", nargs="?", metavar="LESSON", help="one of docs/learn/README.md")
    name = parser.parse_args().lesson
    lessons = [find_lesson(name)] if name else LESSONS

    from pipeline.lessons.pages import write_page
    from pipeline.lessons.runs import run_lesson

    for lesson in lessons:
        print(f"{lesson.name}: {lesson.question}", flush=True)
        picture = write_page(lesson, run_lesson(lesson))
        print(f"{lesson.name}: docs/learn/{lesson.page.name}, {picture}\n", flush=True)


if __name__ == "__main__":
    cli.run(main)
