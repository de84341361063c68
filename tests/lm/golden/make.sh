#!/usr/bin/env bash
# Make the golden models again with KenLM's lmplz, which must be on the PATH.
set -euo pipefail
cd "$(dirname "$0")"
lmplz -o 3 -S 100M --discount_fallback < text.txt | gzip -9n > order3.arpa.gz
lmplz -o 4 -S 100M --discount_fallback --prune 0 0 1 < text.txt | gzip -9n > order4-pruned.arpa.gz
for name in order3 order4-pruned; do
    zcat $name.arpa.gz > $name.arpa
    build_binary -q 8 -b 8 trie $name.arpa $name.bin
done
sha256sum order3.bin order4-pruned.bin > tries.sha256
rm order3.arpa order4-pruned.arpa order3.bin order4-pruned.bin
