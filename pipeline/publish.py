"""Write a web site of all evaluated runs of the experiment: a leaderboard, and their report pages.

Examples:
    python -m pipeline.publish          # into build/site/: open index.html, or upload the folder
"""

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from pathlib import Path

from pipeline.config.composition import compose
from pipeline.system import cli

SITE = Path("build/site")


def main() -> None:
    """Replace the site by a new one, and print where it is."""
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.parse_args()

    from pipeline.publishing.site import write_site

    count = write_site(compose(params=Path("params.yaml")).tracking.experiment, SITE)
    print(f"{SITE}/index.html: {count} runs")


if __name__ == "__main__":
    cli.run(main)
