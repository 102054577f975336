"""Prints what an output of a running session emits: a link's receiving end in a few lines.

    python3 tap.py URL SESSION HANDLER
"""

import os

import orchestrator_link as link


def describe(packet: link.Packet) -> str:
    if packet.kind == "drop":
        return f"dropped ({packet.reason} at handler {packet.handler_id})"
    if isinstance(packet.payload, link.Boxes):
        boxes = [f"{box['label']} {box['x']},{box['y']} {box['w']}x{box['h']}" for box in packet.payload.boxes]
        return "; ".join(boxes) or "nothing found"
    if isinstance(packet.payload, link.Picture):
        return f"{packet.payload.width}x{packet.payload.height} pixels"
    return packet.kind if packet.payload is None else f"{len(packet.payload.data)} bytes"


if __name__ == "__main__":
    for packet in link.tap(*link.arguments(), token=os.environ.get("ORCHESTRATOR_TOKEN")):
        print(packet.sequence, describe(packet), flush=True)
