"""The picture each batch leaves: its least certain slices first, then the surest of each class.

`choose` says which slices are worth showing, before any of their pixels are read; `contact_sheet`
draws them. Both are pure. At most `MAX_TILES` slices are drawn, however large the batch.
"""

import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO

from PIL import Image, ImageDraw, ImageFont

MAX_TILES = 24
COLUMNS = 6
TILE = 176
FRAME = 5
GAP = 14
MARGIN = 28
TEXT = 15
MAX_CHARACTERS = 160
TITLE_TEXT = 28
SECTION_TEXT = 20
CAPTION_HEIGHT = 46
HEADER_HEIGHT = 128
SECTION_HEIGHT = 44
MARK = "atypical"
PAPER, INK, FAINT, WARNING = "#ffffff", "#1b1b1b", "#6a6a6a", "#a32a00"
# Okabe and Ito's palette: told apart with any kind of colour vision. Classes beyond it go round.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a7a00")

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True)
class Tile:
    """One predicted slice: where its picture lies, the label, its probability, the file's name.

    What the model has not seen the like of is marked as `atypical`.
    """

    key: str
    label: str
    probability: float
    caption: str
    atypical: bool = False


@dataclass(frozen=True)
class Section:
    """Tiles under one heading, in the order they are drawn."""

    heading: str
    tiles: tuple[Tile, ...]


@dataclass(frozen=True)
class Chosen:
    """What is drawn, and how many slices of each label there were to choose from."""

    sections: tuple[Section, ...]
    counts: Mapping[str, int]

    def tiles(self) -> Iterator[Tile]:
        """Every chosen tile, each once."""
        for section in self.sections:
            yield from section.tiles


def choose(tiles: Sequence[Tile], classes: Sequence[str], per_section: int = 6) -> Chosen:
    """The least certain tiles (at most a third of them), then the surest of each class.

    No tile comes twice, sections without a tile are left out, and all sections together hold no
    more than `MAX_TILES`. Equal probabilities are ordered by caption, so the choice is stable.
    """
    doubtful = sorted(tiles, key=lambda tile: (tile.probability, tile.caption, tile.key))
    least = doubtful[: min(per_section, -(-len(tiles) // 3))]
    surest = doubtful[len(least) :][::-1]
    sections = [Section("Least certain", tuple(least))]
    for label in classes:
        of_class = tuple(tile for tile in surest if tile.label == label)[:per_section]
        sections.append(Section(f"Most certain: {label}", of_class))
    return Chosen(tuple(_bounded(sections)), Counter(tile.label for tile in tiles))


def _bounded(sections: Sequence[Section]) -> Iterator[Section]:
    room = MAX_TILES
    for section in sections:
        tiles = section.tiles[:room]
        room -= len(tiles)
        if tiles:
            yield Section(section.heading, tiles)


def contact_sheet(
    chosen: Chosen,
    pictures: Mapping[str, bytes],
    classes: Sequence[str],
    *,
    title: str,
    notice: str,
) -> bytes:
    """Draw `chosen` as a PNG; `pictures` holds each tile's image file under its key.

    The frame's colour is the label's; the header names the colours and how many slices of each
    label the batch has.

    Raises
    ------
    KeyError
        `pictures` lacks a chosen tile.
    """
    colours = {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(classes)}
    sheet = Image.new("RGB", _sheet_size(chosen), PAPER)
    draw = ImageDraw.Draw(sheet)
    _draw_header(draw, chosen, colours, title, notice)
    y = HEADER_HEIGHT
    for section in chosen.sections:
        draw.text((MARGIN, y + 8), section.heading, INK, _font(SECTION_TEXT))
        y += SECTION_HEIGHT
        for position, tile in enumerate(section.tiles):
            corner = (_column_x(position % COLUMNS), y + position // COLUMNS * _row_height())
            _draw_tile(sheet, draw, corner, tile, pictures[tile.key], colours.get(tile.label, INK))
        y += _rows(section) * _row_height()
    buffer = BytesIO()
    sheet.save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()


def _sheet_size(chosen: Chosen) -> tuple[int, int]:
    rows = sum(map(_rows, chosen.sections))
    height = HEADER_HEIGHT + len(chosen.sections) * SECTION_HEIGHT + rows * _row_height() + GAP
    return _column_x(COLUMNS) - GAP + MARGIN, height


def _rows(section: Section) -> int:
    return -(-len(section.tiles) // COLUMNS)


def _row_height() -> int:
    return TILE + 2 * FRAME + CAPTION_HEIGHT + GAP


def _column_x(column: int) -> int:
    return MARGIN + column * (TILE + 2 * FRAME + GAP)


def _draw_header(
    draw: ImageDraw.ImageDraw, chosen: Chosen, colours: Mapping[str, str], title: str, notice: str
) -> None:
    room = _column_x(COLUMNS) - GAP - MARGIN
    draw.text((MARGIN, 18), _fit(title, _font(TITLE_TEXT), room), INK, _font(TITLE_TEXT))
    draw.text((MARGIN, 58), _fit(notice, _font(TEXT), room), WARNING, _font(TEXT))
    x = MARGIN
    for label, colour in colours.items():
        text = _fit(f"{label}: {chosen.counts.get(label, 0):,}", _font(TEXT), room // 2)
        width = int(_font(TEXT).getlength(text)) + 50
        if x + width > MARGIN + room:
            draw.text((x, 92), "…", INK, _font(TEXT))
            break
        draw.rectangle((x, 92, x + 16, 108), fill=colour)
        draw.text((x + 24, 91), text, INK, _font(TEXT))
        x += width


def _draw_tile(
    sheet: Image.Image,
    draw: ImageDraw.ImageDraw,
    corner: tuple[int, int],
    tile: Tile,
    picture: bytes,
    colour: str,
) -> None:
    x, y = corner
    side = TILE + 2 * FRAME
    draw.rectangle((x, y, x + side - 1, y + side - 1), fill=colour)
    with Image.open(BytesIO(picture)) as image:
        sheet.paste(image.convert("RGB").resize((TILE, TILE)), (x + FRAME, y + FRAME))
    if tile.atypical:
        _draw_mark(draw, (x + FRAME, y + FRAME))
    share = percent(tile.probability)
    share_width = int(_font(TEXT).getlength(f" {share}"))
    label = _fit(tile.label, _font(TEXT), side - share_width)
    draw.text((x, y + side + 4), f"{label} {share}", colour, _font(TEXT))
    draw.text((x, y + side + 24), _fit(tile.caption, _font(TEXT), side), FAINT, _font(TEXT))


def _draw_mark(draw: ImageDraw.ImageDraw, corner: tuple[int, int]) -> None:
    font = _font(TEXT)
    width = int(font.getlength(MARK)) + 8
    draw.rectangle((*corner, corner[0] + width, corner[1] + TEXT + 6), fill=WARNING)
    draw.text((corner[0] + 4, corner[1] + 2), MARK, PAPER, font)


def percent(probability: float) -> str:
    """A probability in whole percent that never claims certainty: 0.9996 is ">99 %"."""
    if probability < 1 and round(probability * 100) == 100:
        return ">99 %"
    return f"{round(probability * 100)} %"


def _fit(text: str, font: Font, room: int) -> str:
    """`text` on one line, its middle left out where it is wider than `room` pixels."""
    text = _drawable(text)
    if font.getlength(text) <= room:
        return text
    kept = min(len(text) - 1, MAX_CHARACTERS)
    while kept > 2 and font.getlength(_elided(text, kept)) > room:
        kept -= 1
    return _elided(text, kept)


def _drawable(text: str) -> str:
    """Pillow's built-in font is ASCII: marks are dropped ("é" is "e"), all else becomes "?"."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return "".join(c if c.isascii() and c.isprintable() else "?" for c in plain)


def _elided(text: str, kept: int) -> str:
    return f"{text[: -(-kept // 2)]}…{text[len(text) - kept // 2 :]}"


def _font(size: int) -> Font:
    return ImageFont.load_default(size)
