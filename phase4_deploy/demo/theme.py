"""How the demo looks: the report's paper, ink and vermilion, in a light and a dark room.

Fonts are those of the visitor's machine: nothing is fetched.
"""

from pathlib import Path
from typing import Any

SANS = ("-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "Arial", "sans-serif")
MONO = ("ui-monospace", "SF Mono", "Menlo", "Consolas", "Liberation Mono", "monospace")
STYLE = Path(__file__).with_name("style.css")
ACCENT = ("#fdf3f1", "#fbe3e0", "#f7c8c1", "#f1a398", "#ea7367", "#e34234", "#c22e1f", "#a12619",
          "#7f2016", "#621b14", "#380d09")  # fmt: skip
STONE = ("#fcfbf9", "#f5f2ed", "#e7e2db", "#cfc8bf", "#a29a91", "#6d665f", "#544d46", "#35302b",
         "#26221f", "#1f1c1a", "#171513")  # fmt: skip

# Small pictures are shown pixel by pixel, photographs as ever.
HEAD = """<script>
document.addEventListener("load", ({target}) => {
  if (target.tagName === "IMG") target.classList.toggle("pixels", target.naturalWidth <= 128);
}, true);
</script>"""


def theme() -> Any:
    """The Gradio theme."""
    import gradio as gr
    from gradio.themes import Color, Font

    look = gr.themes.Base(
        primary_hue=Color(*ACCENT, name="vermilion"),
        secondary_hue=Color(*STONE, name="stone"),
        neutral_hue=Color(*STONE, name="stone"),
        radius_size="md",
        font=[Font(name) for name in SANS],
        font_mono=[Font(name) for name in MONO],
    )
    light_and_dark = {
        "body_background_fill": ("#fcfbf9", "#171513"),
        "body_text_color": ("#1f1c1a", "#ece7e1"),
        "body_text_color_subdued": ("#6d665f", "#a29a91"),
        "block_background_fill": ("#ffffff", "#1f1c1a"),
        "block_border_color": ("#e7e2db", "#35302b"),
        "block_label_background_fill": ("#ffffff", "#1f1c1a"),
        "block_label_text_color": ("#6d665f", "#a29a91"),
        "block_title_text_color": ("#6d665f", "#a29a91"),
        "input_background_fill": ("#ffffff", "#1f1c1a"),
        "input_border_color": ("#e7e2db", "#35302b"),
        "input_border_color_focus": ("#e34234", "#f05a4a"),
        "button_primary_background_fill": ("#c22e1f", "#c22e1f"),
        "button_primary_background_fill_hover": ("#a12619", "#e34234"),
        "button_primary_text_color": ("#ffffff", "#ffffff"),
        "button_secondary_background_fill": ("#f5f2ed", "#26221f"),
        "button_secondary_background_fill_hover": ("#e7e2db", "#35302b"),
    }
    values = {}
    for name, (light, dark) in light_and_dark.items():
        values |= {name: light, f"{name}_dark": dark}
    return look.set(block_shadow="none", block_border_width="1px", **values)
