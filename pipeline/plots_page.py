"""Write the page into which `dvc plots` puts its charts, with the scripts that draw them.

DVC's own page takes these scripts from the internet. `make setup` runs this command, and
.dvc/config names the page.
"""

import sys
from pathlib import Path

import vl_convert

from pipeline.system import cli
from pipeline.system.files import write_text

# DVC takes the name of a missing page as its content. With these placeholders in it, the charts are
# drawn nevertheless, with the scripts from the internet.
PAGE = "run-make-setup-to-draw-offline{scripts}{plot_divs}.html"


def plots_page() -> str:
    """A template for `plots.html_template`, with Vega, Vega-Lite and Vega-Embed inside."""
    bundle = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    scripts = bundle.replace("</script", r"<\/script")
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
{{refresh_tag}}
<title>DVC plots</title>
<script>{scripts}</script>
</head>
<body>
{{plot_divs}}
</body>
</html>
"""


def main() -> None:
    """Write the page into the environment of the Python that runs."""
    cli.no_arguments(__doc__)
    write_text(Path(sys.prefix) / PAGE, plots_page())


if __name__ == "__main__":
    cli.run(main)
