// Blocks of the guest's RAM whose content is read from files once the guest runs.
#pragma once

#include <pthread.h>

#include <functional>
#include <memory>
#include <vector>

#include "events/event_fd.h"
#include "memory/layout.h"
#include "sys/fd.h"
#include "sys/result.h"

namespace bulkhead::vm {

/**
 * Whoever touches one, be it the guest, KVM or a device, waits until it is there; from the first that is touched on the
 * others follow by themselves. A thread of its own fills each block aside and then puts it in its place as a whole, so
 * nobody sees half of one, and a block is one large page wherever the host gives them. Files are read and never mapped:
 * one that became shorter is an error and no SIGBUS.
 */
class LateBlocks {
 public:
  static constexpr uint64_t kBlock = 2 * layout::kMiB;

  /** Called in its thread. */
  struct Calls {
    /** Before it reads anything; may be empty. */
    std::function<Status()> confine;
    /** A file did not have what it had, by errno: from then on what is missing is zero. */
    std::function<void(int err)> lost;
  };

  /** `device` is /dev/userfaultfd (Linux 6.1), open for reading and writing. */
  static Result<std::unique_ptr<LateBlocks>> create(const Fd& device);
  LateBlocks(LateBlocks&&) = delete;
  ~LateBlocks();

  /**
   * These whole blocks, aligned in this process and untouched, are what `file` has from `offset` on. Until `start` they
   * are as empty as they were, and nobody may touch them.
   */
  Status take(const Fd& file, uint64_t offset, uint8_t* host, uint64_t sizeBytes);
  /** Once. Nobody has to wait for anything before. */
  Status start(Calls calls);

 private:
  struct Block {
    /** Index of its file. */
    size_t file;
    uint64_t offset;
    uint8_t* host;
    bool present = false;
  };

  LateBlocks(Fd faults, EventFd stop) : faults_(std::move(faults)), stop_(std::move(stop)) {}
  static void* enter(void* self);
  Status bringAll();
  Status bring(Block* block);
  /** Until a block is touched; false when there is nobody left who would. */
  bool waitForFirst() const;
  /** The block that somebody waits for; nullptr: nobody does. */
  Block* wanted();

  Fd faults_;
  EventFd stop_;
  std::vector<Fd> files_;
  std::vector<Block> blocks_;
  Calls calls_;
  /** Where a block is filled. */
  uint8_t* aside_ = nullptr;
  void* reservation_ = nullptr;
  pthread_t thread_ = {};
  bool started_ = false;
};

}  // namespace bulkhead::vm
