#!/bin/sh
# fuzz.sh SECONDS: builds the fuzzers with clang (ASan, UBSan) and runs each for that long, first over what is kept in
# test/corpus, where the input of every crash that was mended belongs too. New inputs stay in build/fuzz/found.
set -u
cd "$(dirname "$0")/.." || exit 1
seconds=${1:-15}
cmake -S . -B build/fuzz -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_CXX_COMPILER=clang++ > build/fuzz.log &&
  cmake --build build/fuzz --target fuzz-acpi fuzz-frames fuzz-kernel fuzz-snapshot fuzz-vhost fuzz-virtio >> build/fuzz.log || { cat build/fuzz.log; exit 1; }
passed=0
failed=0
for target in acpi frames kernel snapshot vhost virtio; do
  mkdir -p "build/fuzz/found/$target"
  if "build/fuzz/fuzz-$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -verbosity=0 \
    -artifact_prefix="build/fuzz/$target-" "build/fuzz/found/$target" "test/corpus/$target"; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
  fi
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
