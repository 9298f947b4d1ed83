/** System calls that belong together, and why a container may make them. */
export interface SyscallGroup {
  readonly why: string;
  readonly names: readonly string[];
}

const group = (why: string, names: string): SyscallGroup => ({ why, names: names.trim().split(/\s+/) });

/**
 * What every container may call. A call that is not here fails with EPERM: it reaches kernel code that namespaces do
 * not divide (modules, clocks, keys, BPF), or whose bugs have let programs out (io_uring, userfaultfd). Names of 32-bit
 * and x32 programs are included; an architecture that lacks one ignores it.
 */
export const commonSyscalls: readonly SyscallGroup[] = [
  group(
    "files by descriptor and path: the mount namespace decides what a path can reach",
    `access chdir close close_range copy_file_range creat dup dup2 dup3 faccessat faccessat2 fadvise64 fadvise64_64
     fallocate fchdir fcntl fcntl64 fdatasync flock fstat fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate
     ftruncate64 getcwd getdents getdents64 ioctl _llseek lseek lstat lstat64 name_to_handle_at newfstatat open openat
     openat2 pread64 preadv preadv2 pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv sendfile
     sendfile64 splice stat stat64 statfs statfs64 statx sync sync_file_range syncfs tee truncate truncate64 umask
     vmsplice write writev cachestat`,
  ),
  group(
    "changing the tree: the user namespace decides what may be changed",
    `chmod chown chown32 fchmod fchmodat fchmodat2 fchown fchown32 fchownat futimesat lchown lchown32 link linkat mkdir
     mkdirat mknod mknodat rename renameat renameat2 rmdir symlink symlinkat unlink unlinkat utime utimensat
     utimensat_time64 utimes`,
  ),
  group(
    "extended attributes and watches on files already reachable",
    `fgetxattr flistxattr fremovexattr fsetxattr getxattr getxattrat inotify_add_watch inotify_init inotify_init1
     inotify_rm_watch lgetxattr listxattr listxattrat llistxattr lremovexattr lsetxattr removexattr removexattrat
     setxattr setxattrat fanotify_mark`,
  ),
  group(
    "own memory: the memory cgroup bounds it",
    `brk madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mlock mlock2 mlockall mmap mmap2 mprotect
     mremap mseal msync munlock munlockall munmap pkey_alloc pkey_free pkey_mprotect process_mrelease remap_file_pages`,
  ),
  group(
    "processes and threads: the PID namespace and the pids cgroup bound them",
    `arch_prctl capget capset execve execveat exit exit_group fork getpgid getpgrp getpid getppid getpriority
     getrlimit getrusage getsid gettid get_thread_area ioprio_get ioprio_set modify_ldt pidfd_open pidfd_send_signal
     prctl prlimit64 rseq sched_getaffinity sched_getattr sched_getparam sched_get_priority_max sched_get_priority_min
     sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity sched_setattr
     sched_setparam sched_setscheduler sched_yield setpgid setpriority setrlimit setsid set_thread_area
     set_tid_address ugetrlimit vfork wait4 waitid waitpid`,
  ),
  group(
    "signals and locks between own threads and processes",
    `futex futex_requeue futex_time64 futex_wait futex_waitv futex_wake get_robust_list kill pause restart_syscall
     rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait
     rt_sigtimedwait_time64 rt_tgsigqueueinfo set_robust_list sigaltstack signal signalfd signalfd4 sigprocmask
     sigreturn tgkill tkill`,
  ),
  group(
    "identity: set-id calls act inside the user namespace only",
    `getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getresgid getresgid32 getresuid
     getresuid32 getuid getuid32 setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups setgroups32 setregid
     setregid32 setresgid setresgid32 setresuid setresuid32 setreuid setreuid32 setuid setuid32`,
  ),
  group(
    "reading clocks, sleeping and timers; setting clocks is not here",
    `adjtimex alarm clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64
     clock_nanosleep clock_nanosleep_time64 getitimer gettimeofday nanosleep setitimer time timer_create timer_delete
     timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64 timerfd_create timerfd_gettime
     timerfd_gettime64 timerfd_settime timerfd_settime64 times`,
  ),
  group(
    "waiting for many descriptors, and kernel AIO, which existing databases need",
    `epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd
     eventfd2 io_cancel io_destroy io_getevents io_pgetevents io_pgetevents_time64 io_setup io_submit _newselect pipe
     pipe2 poll ppoll ppoll_time64 pselect6 pselect6_time64 select`,
  ),
  group(
    "sockets: the network namespace decides what they reach; two families are refused before",
    `accept accept4 bind connect getpeername getsockname getsockopt listen recvfrom recvmmsg recvmmsg_time64
     recvmsg sendmmsg sendmsg sendto setsockopt shutdown socket socketcall socketpair`,
  ),
  group(
    "System V and POSIX message queues, semaphores and shared memory: the IPC namespace divides them",
    `ipc mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64
     mq_unlink msgctl msgget msgrcv msgsnd semctl semget semop semtimedop semtimedop_time64 shmat shmctl shmdt shmget`,
  ),
  group(
    "facts about the machine, and a program limiting itself further",
    `getcpu getrandom landlock_add_rule landlock_create_ruleset landlock_restrict_self listmount lsm_get_self_attr
     lsm_list_modules lsm_set_self_attr seccomp statmount sysinfo uname`,
  ),
  group(
    "tracing own processes: since Linux 4.8 seccomp is checked after the tracer, so ptrace no longer bypasses it",
    "process_vm_readv process_vm_writev ptrace",
  ),
];

/** What a capability adds: without these calls holding it would be of no use. */
export const syscallsOfCapability: Readonly<Record<string, SyscallGroup>> = {
  CAP_BPF: group("BPF programs", "bpf"),
  CAP_DAC_READ_SEARCH: group("opening files by handle, which walks around paths", "open_by_handle_at"),
  CAP_PERFMON: group("performance counters", "perf_event_open"),
  CAP_SYS_ADMIN: group(
    "mounts and further namespaces",
    `bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie mount mount_setattr move_mount
     open_tree perf_event_open quotactl quotactl_fd setdomainname sethostname setns syslog umount umount2 unshare`,
  ),
  CAP_SYS_BOOT: group("restarting, which ends a PID namespace", "reboot"),
  CAP_SYS_CHROOT: group("another root directory", "chroot"),
  CAP_SYS_MODULE: group("kernel modules", "delete_module finit_module init_module"),
  CAP_SYS_NICE: group(
    "memory placement",
    "get_mempolicy mbind migrate_pages move_pages set_mempolicy set_mempolicy_home_node",
  ),
  CAP_SYS_PACCT: group("process accounting", "acct"),
  CAP_SYS_PTRACE: group("other processes' descriptors and memory", "kcmp pidfd_getfd process_madvise"),
  CAP_SYS_RAWIO: group("I/O ports", "ioperm iopl"),
  CAP_SYS_TIME: group("setting clocks", "clock_settime clock_settime64 settimeofday stime"),
  CAP_SYS_TTY_CONFIG: group("hanging up terminals", "vhangup"),
  CAP_SYSLOG: group("the kernel's log", "syslog"),
};
