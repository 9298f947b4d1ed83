// Any bytes as a kernel or initramfs: loaded inside the guest's memory, or refused.
#include <cstdlib>

#include "boot/handover.h"
#include "memory/layout.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace bulkhead::vm;
  static const GuestMemory memory = GuestMemory::create({.sizeBytes = 32 * layout::kMiB}).take();
  const BytesSource source({reinterpret_cast<const char*>(data), size});
  auto loaded = loadKernel(source, memory);
  if (!loaded.ok()) return 0;
  const Kernel kernel = loaded.take();
  // Whatever was loaded is in RAM, above what the protocols keep there, and does not hide an initramfs.
  if (kernel.entry < layout::kKernelStart || memory.at(kernel.end - 1, 1) == nullptr) abort();
  auto placed = loadInitramfs(source, kernel, memory);
  if (placed.ok() && placed.value().address < kernel.end) abort();
  (void)prepareHandover(kernel, {.commandLine = "quiet", .initramfs = {}}, memory, {}).ok();
  return 0;
}
