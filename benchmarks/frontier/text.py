"""The other text of the crossover: the dictionary of Debian's package dict-gcide, shuffled.

    python benchmarks/frontier/text.py gcide.dict.dz OUT

``gcide.dict.dz`` is /usr/share/dictd/gcide.dict.dz of version 0.48.5+nmu2 (sha256 of the package
7b0af5cfde3cbdef5e9d6e78f92ec335ced7c2790f37a40f49bebc6f7347ac0f): the GNU Collaborative
International Dictionary of English, 40 MB of definitions and quotations. It is in alphabetical
order, and its end would be another text than its beginning, so blocks of whole lines of at least
16,384 bytes are put in the order of their SHA-256.
"""

import gzip
import hashlib
import sys
from pathlib import Path

BLOCK = 16_384


def main() -> None:
    source, target = map(Path, sys.argv[1:3])
    blocks, block, size = [], [], 0
    for line in gzip.decompress(source.read_bytes()).splitlines(keepends=True):
        block.append(line)
        size += len(line)
        if size >= BLOCK:
            blocks.append(b"".join(block))
            block, size = [], 0
    blocks.append(b"".join(block))
    blocks.sort(key=lambda part: hashlib.sha256(part).digest())
    text = b"".join(blocks)
    target.write_bytes(text)
    print(f"{len(text):,} bytes, sha256 {hashlib.sha256(text).hexdigest()}")


if __name__ == "__main__":
    main()
