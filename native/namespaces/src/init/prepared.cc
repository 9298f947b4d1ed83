#include "init/prepared.h"

#include "init/mounts.h"
#include "init/pseudo.h"

namespace bulkhead::init {

Status PreparedMounts::makeOne(const plan::Container& container, uint32_t index, Steps& steps) {
  const plan::Mount& mount = container.mounts[index];
  FixedText<64> step("make /");
  step.append(mount.destination.view());
  TRY(steps.begin(step.view()));
  mounts_[index] = TRY(makePseudo(mount));
  return Done{};
}

Status PreparedMounts::make(const plan::Container& container, Steps& steps) {
  for (uint32_t index = 0; index < container.mounts.count && index < kMax; ++index) {
    const plan::Mount& mount = container.mounts[index];
    if (isMadeByShim(mount) || mount.kind == plan::MountKind::remount) continue;
    TRY(makeOne(container, index, steps));
  }
  return Done{};
}

Result<Fd> PreparedMounts::take(const plan::Container& container, uint32_t index) {
  if (index < kMax && mounts_[index].valid()) return std::move(mounts_[index]);
  return makePseudo(container.mounts[index]);
}

}  // namespace bulkhead::init
