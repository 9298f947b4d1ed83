// Files that are no snapshots of a machine: a clear refusal, and nothing else.
#include <cerrno>

#include "snapshot/machine_state.h"
#include "snapshot_scene.h"

namespace bulkhead::vm {

TEST(files_that_are_no_snapshot_are_refused) {
  if (!haveKvm()) return;
  auto counted = takeCounting();
  auto stranger = takeCounting();
  EXPECT(counted.ok() && stranger.ok());
  if (!counted.ok() || !stranger.ok()) return;
  const Taken& taken = counted.value().taken;
  const std::string state = contentOf(taken.state);
  for (size_t size = 0; size < state.size(); size += 1 + size / 16) {
    put(taken.state, state.substr(0, size));
    auto restored = taken.restore();
    EXPECT(!restored.ok() && restored.error().err == EBADMSG);
  }
  for (size_t at = 0; at < state.size(); at += 1 + at / 8) {
    std::string flipped = state;
    flipped[at] ^= static_cast<char>(1 << at % 8);
    put(taken.state, flipped);
    auto restored = taken.restore();
    // A version that is none of ours is told apart.
    EXPECT(!restored.ok() && restored.error().err == (at >= 8 && at < 12 ? ENOTSUP : EBADMSG));
  }
  put(taken.state, state + "x");
  EXPECT(!taken.restore().ok());
  put(taken.state, std::string(16 * 1024 * 1024, 'x'));
  auto restored = taken.restore();
  EXPECT(!restored.ok() && restored.error().err == EFBIG);
  put(taken.state, state);

  const std::string memory = contentOf(taken.memory);
  for (const std::string& wrong : {std::string(), memory.substr(0, memory.size() - 1), memory.substr(0, 4096),
                                   memory + "x", contentOf(stranger.value().taken.memory)}) {
    put(taken.memory, wrong);
    restored = taken.restore();
    EXPECT(!restored.ok() && restored.error().err == EBADMSG);
  }
  put(taken.memory, memory);
  EXPECT(taken.restore().ok());
}

TEST(a_forged_state_with_its_checksum_is_refused_by_what_it_says) {
  if (!haveKvm()) return;
  auto counted = takeCounting();
  EXPECT(counted.ok());
  if (!counted.ok()) return;
  const Taken& taken = counted.value().taken;
  const std::string file = contentOf(taken.state);
  struct Forgery {
    const char* what;
    void (*forge)(MachineState* state);
  };
  const Forgery kForgeries[] = {
      {"another size of memory", [](MachineState* state) { state->memoryBytes *= 2; }},
      {"memory beyond all", [](MachineState* state) { state->memoryBytes = ~uint64_t{0} - 4095; }},
      {"no processor", [](MachineState* state) { state->vcpus.clear(); }},
      {"too many processors", [](MachineState* state) { state->vcpus.resize(65, state->vcpus[0]); }},
      {"another processor", [](MachineState* state) { state->cpuid[1].ecx ^= 1u << 5; }},
      {"no processor's description", [](MachineState* state) { state->cpuid.clear(); }},
      {"a register that is none", [](MachineState* state) { state->vcpus[0].modelSpecific[0].index = 0xdead; }},
      {"too little extended state", [](MachineState* state) { state->vcpus[0].extended.resize(16); }},
      {"extended state that is none", [](MachineState* state) { state->vcpus[0].extended[128] = ~0u; }},
      {"control registers that cannot be", [](MachineState* state) { state->vcpus[0].special.cr0 = ~uint64_t{0}; }},
      {"events that are none", [](MachineState* state) { state->vcpus[0].events.flags = ~0u; }},
      {"a state that is none", [](MachineState* state) { state->vcpus[0].running.mp_state = 99; }},
      {"a serial port that holds too much", [](MachineState* state) { state->serial.count = 65; }},
      {"a device more",
       [](MachineState* state) {
         state->devices.push_back({DeviceKind::block, "x"});
       }},
  };
  for (const Forgery& each : kForgeries) {
    auto opened = MachineState::open(file);
    EXPECT(opened.ok());
    if (!opened.ok()) return;
    MachineState state = opened.take();
    each.forge(&state);
    put(taken.state, state.seal());
    EXPECT_THAT(!taken.restore().ok(), each.what);
  }
  put(taken.state, MachineState::open(file).take().seal());
  EXPECT(taken.restore().ok());
}

}  // namespace bulkhead::vm
