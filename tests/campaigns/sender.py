"""`python -m tests.campaigns.sender INTERFACE RATE`: numbered frames until standard input ends; tells how many.

A frame is as tests/bpf/stamp.bpf.c reads it. One that the device refuses was not sent, and its number is used again.
"""

import select
import socket
import sys
import time

BURST = 50  # frames between two looks at the clock: far fewer than the ring of a veth holds
HEAD = bytes.fromhex("ffffffffffff 020000000001 88b5 0000")
REST = bytes(44)


def main(interface: str, rate: int) -> None:
    """Send; print the number of frames and the seconds it took."""
    sent = 0
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
        sender.bind((interface, 0))
        began = time.monotonic()
        while not select.select([sys.stdin], [], [], 0)[0]:
            sent = _burst(sender, sent)
            ahead = sent / rate - (time.monotonic() - began)
            if ahead > 0:
                time.sleep(ahead)
        print(sent, time.monotonic() - began)


def _burst(sender: socket.socket, sent: int) -> int:
    for _ in range(BURST):
        try:
            sender.send(HEAD + sent.to_bytes(4, sys.byteorder) + REST)
        except OSError:
            continue
        sent += 1
    return sent


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
