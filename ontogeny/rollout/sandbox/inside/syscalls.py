"""The x86-64 system calls that a Python program needs, and those that only an escape needs.

Source: arch/x86/entry/syscalls/syscall_64.tbl of Linux. What stands in no list is answered as by
a kernel that lacks it (ENOSYS), so that libraries fall back to what they used before.
"""

from __future__ import annotations

NUMBERS: dict[str, int] = {}
"""Name -> number, of all that are named below."""


def _numbered(text: str) -> frozenset[int]:
    words = text.split()
    numbers = [int(word) for word in words[1::2]]
    NUMBERS.update(zip(words[0::2], numbers, strict=True))
    return frozenset(numbers)


ALLOWED = _numbered(
    """
    read 0 write 1 open 2 close 3 stat 4 fstat 5 lstat 6 poll 7 lseek 8 mmap 9 mprotect 10
    munmap 11 brk 12 rt_sigaction 13 rt_sigprocmask 14 rt_sigreturn 15 pread64 17 pwrite64 18
    readv 19 writev 20 access 21 pipe 22 select 23 sched_yield 24 mremap 25 msync 26 madvise 28
    dup 32 dup2 33 pause 34 nanosleep 35 getitimer 36 alarm 37 setitimer 38 getpid 39
    sendfile 40 recvfrom 45 sendmsg 46 recvmsg 47 shutdown 48 getsockname 51 getpeername 52
    setsockopt 54 getsockopt 55 fork 57 vfork 58 execve 59 exit 60 wait4 61 kill 62 uname 63
    fsync 74 fdatasync 75 truncate 76 ftruncate 77 getdents 78 getcwd 79 chdir 80 fchdir 81
    rename 82 mkdir 83 rmdir 84 creat 85 link 86 unlink 87 symlink 88 readlink 89 chmod 90
    fchmod 91 umask 95 gettimeofday 96 getrlimit 97 getrusage 98 sysinfo 99 times 100 getuid 102
    getgid 104 geteuid 107 getegid 108 setpgid 109 getppid 110 getpgrp 111 setsid 112
    getgroups 115 getresuid 118 getresgid 120 getpgid 121 getsid 124 capget 125
    rt_sigpending 127 rt_sigtimedwait 128 rt_sigqueueinfo 129 rt_sigsuspend 130 sigaltstack 131
    utime 132 mknod 133 statfs 137 fstatfs 138 getpriority 140 setpriority 141
    sched_getparam 143 sched_getscheduler 145 sched_get_priority_max 146
    sched_get_priority_min 147 sched_rr_get_interval 148 mlock 149 munlock 150 munlockall 152
    arch_prctl 158 gettid 186 readahead 187 getxattr 191 lgetxattr 192 fgetxattr 193
    listxattr 194 llistxattr 195 flistxattr 196 tkill 200 time 201 futex 202
    sched_getaffinity 204 epoll_create 213 getdents64 217 set_tid_address 218
    restart_syscall 219 fadvise64 221 clock_gettime 228 clock_getres 229 clock_nanosleep 230
    exit_group 231 epoll_wait 232 epoll_ctl 233 tgkill 234 utimes 235 waitid 247 openat 257
    mkdirat 258 mknodat 259 futimesat 261 newfstatat 262 unlinkat 263 renameat 264 linkat 265
    symlinkat 266 readlinkat 267 fchmodat 268 faccessat 269 pselect6 270 ppoll 271
    set_robust_list 273 get_robust_list 274 utimensat 280 epoll_pwait 281 signalfd 282
    timerfd_create 283 eventfd 284 fallocate 285 timerfd_settime 286 timerfd_gettime 287
    signalfd4 289 eventfd2 290 epoll_create1 291 dup3 292 pipe2 293 preadv 295 pwritev 296
    rt_tgsigqueueinfo 297 recvmmsg 299 getcpu 309 sched_getattr 315 renameat2 316 getrandom 318
    membarrier 324 mlock2 325 copy_file_range 326 preadv2 327 pwritev2 328 pkey_mprotect 329
    pkey_alloc 330 pkey_free 331 statx 332 rseq 334 pidfd_send_signal 424 pidfd_open 434
    close_range 436 faccessat2 439 epoll_pwait2 441 futex_waitv 449 fchmodat2 452
   
    """
)
"""The arguments of these do not matter: what they reach is bounded by the other layers."""

DENIED = _numbered(
    """
    shmget 29 shmat 30 shmctl 31 socket 41 connect 42 accept 43 bind 49 listen 50 semget 64
    semop 65 semctl 66 shmdt 67 msgget 68 msgsnd 69 msgrcv 70 msgctl 71 chown 92 fchown 93
    lchown 94 setuid 105 setgid 106 setreuid 113 setregid 114 setgroups 116 setresuid 117
    setresgid 119 setfsuid 122 setfsgid 123 capset 126 sched_setparam 142 sched_setscheduler 144
    mlockall 151 setxattr 188 lsetxattr 189 fsetxattr 190 removexattr 197 lremovexattr 198
    fremovexattr 199 sched_setaffinity 203 semtimedop 220 mq_open 240 mq_unlink 241
    mq_timedsend 242 mq_timedreceive 243 mq_notify 244 mq_getsetattr 245 ioprio_set 251
    fchownat 260 accept4 288 sched_setattr 314 seccomp 317 memfd_create 319 execveat 322
    landlock_create_ruleset 444 landlock_add_rule 445 landlock_restrict_self 446
    memfd_secret 447 syslog 103 sendmmsg 307 flock 73 inotify_init 253 inotify_add_watch 254
    inotify_rm_watch 255 inotify_init1 294 sync 162
    """
)
"""EPERM: programs try them innocently. Memory of memfd and shm escapes RLIMIT_AS; a datagram of
sendmmsg names an address that a filter cannot read; jobs could signal each other by locking or
watching a library's file, which all of them see."""

FATAL = _numbered(
    """
    ptrace 101 uselib 134 pivot_root 155 _sysctl 156 adjtimex 159 chroot 161 acct 163
    settimeofday 164 mount 165 umount2 166 swapon 167 swapoff 168 reboot 169 sethostname 170
    setdomainname 171 iopl 172 ioperm 173 create_module 174 init_module 175 delete_module 176
    quotactl 179 modify_ldt 154 lookup_dcookie 212 clock_settime 227 kexec_load 246 add_key 248
    request_key 249 keyctl 250 migrate_pages 256 unshare 272 move_pages 279 perf_event_open 298
    fanotify_init 300 fanotify_mark 301 name_to_handle_at 303 open_by_handle_at 304 setns 308
    process_vm_readv 310 process_vm_writev 311 kcmp 312 finit_module 313 kexec_file_load 320
    bpf 321 userfaultfd 323 io_uring_setup 425 io_uring_enter 426 io_uring_register 427
    open_tree 428 move_mount 429 fsopen 430 fsconfig 431 fsmount 432 fspick 433 pidfd_getfd 438
    process_madvise 440 mount_setattr 442 quotactl_fd 443 process_mrelease 448 vhangup 153
    vmsplice 278
    """
)
"""The process is killed: no program needs them, and each has opened a kernel before."""

CHECKED = _numbered(
    """
    ioctl 16 sendto 44 socketpair 53 clone 56 fcntl 72 setrlimit 160 prlimit64 302
    personality 135 prctl 157 clone3 435
    """
)
"""Their arguments decide; `seccomp` holds how."""

assert not ALLOWED & DENIED and not (ALLOWED | DENIED) & FATAL
