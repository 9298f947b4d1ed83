#!/bin/sh
# fuzz.sh SECONDS: builds the fuzzer with clang (ASan, UBSan) and runs it for that long, first over what is kept in
# test/corpus, where the input of every crash that was mended belongs too. New inputs stay in build/fuzz/found.
set -u
cd "$(dirname "$0")/.." || exit 1
seconds=${1:-10}
cmake -S . -B build/fuzz -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_C_COMPILER=clang -DCMAKE_CXX_COMPILER=clang++ > build/fuzz.log &&
  cmake --build build/fuzz --target fuzz-protocol >> build/fuzz.log || { cat build/fuzz.log; exit 1; }
mkdir -p build/fuzz/found/protocol
if "build/fuzz/fuzz-protocol" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -verbosity=0 \
  -artifact_prefix=build/fuzz/protocol- build/fuzz/found/protocol test/corpus/protocol; then
  echo "1 passed, 0 failed"
else
  echo "0 passed, 1 failed"
  exit 1
fi
