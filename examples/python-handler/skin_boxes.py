"""Finds skin-coloured regions (faces, hands) in frames: a handler of Orchestrator, in plain Python.

    python3 skin_boxes.py URL SESSION HANDLER
"""

from collections import deque

import orchestrator_link as link

CELL_PX = 8  # one pixel in 8 x 8 is looked at: Python is slow, and a face is large
CELLS_MIN = 12  # smaller regions are noise
BOXES_MAX = 8


def is_skin(r: int, g: int, b: int) -> bool:
    """The rule of Kovac, Peer and Solina (2003) for skin in daylight."""
    spread = max(r, g, b) - min(r, g, b)
    return r > 95 and g > 40 and b > 20 and spread > 15 and r - g > 15 and r > b


def skin_cells(picture: link.Picture) -> set:
    """Column and row of every cell whose middle pixel has the colour of skin."""
    cells = set()
    middle = CELL_PX // 2
    for row in range(picture.height // CELL_PX):
        start = (row * CELL_PX + middle) * picture.width * 3
        line = picture.data[start : start + picture.width * 3]
        for column in range(picture.width // CELL_PX):
            at = (column * CELL_PX + middle) * 3
            if is_skin(line[at], line[at + 1], line[at + 2]):
                cells.add((column, row))
    return cells


def regions(cells: set):
    """Sets of cells that touch, the largest first."""
    found = []
    while cells:
        queue = deque([cells.pop()])
        region = []
        while queue:
            column, row = queue.popleft()
            region.append((column, row))
            for near in ((column - 1, row), (column + 1, row), (column, row - 1), (column, row + 1)):
                if near in cells:
                    cells.remove(near)
                    queue.append(near)
        if len(region) >= CELLS_MIN:
            found.append(region)
    return sorted(found, key=len, reverse=True)


def box_of(region) -> dict:
    columns, rows = [column for column, _ in region], [row for _, row in region]
    width, height = max(columns) - min(columns) + 1, max(rows) - min(rows) + 1
    return {
        "label": "skin",
        "prob": len(region) / (width * height),
        "x": min(columns) * CELL_PX,
        "y": min(rows) * CELL_PX,
        "w": width * CELL_PX,
        "h": height * CELL_PX,
    }


def work(packet: link.Packet) -> link.Boxes:
    picture = packet.payload
    if not isinstance(picture, link.Picture):
        raise link.Drop(f"sequence {packet.sequence} is no frame")
    boxes = [box_of(region) for region in regions(skin_cells(picture))[:BOXES_MAX]]
    return link.Boxes(picture.width, picture.height, boxes)


if __name__ == "__main__":
    link.serve(work, *link.arguments())
