// Guests of snapshot_test.cc and restore_bench.cc, entered as those of guests.S.
#include "guest_macro.S"

// Counts in a register and in memory at 2 MiB - 8, and says 0xee and stops should they ever differ.
        guest guestCountsTwice
        movl    $0x1ffff8, %edi
        xorl    %ebx, %ebx
1:      incq    %rbx
        incq    (%rdi)
        cmpq    %rbx, (%rdi)
        je      1b
        movb    $0xee, %al
        outb    %al, $0x80
2:      hlt
        jmp     2b
guestCountsTwiceEnd:

// Starts a second processor, which counts at 0x3000 in real mode; counts at 2 MiB - 8 itself.
        guest guestCountsOnTwo
        window  0xfee00000
        movl    $0x10000, %edi          // where the start-up message points: vector 0x10
        movl    $0x3000, %eax
        movl    $0x0006ff66, (%rdi)     // incl 0x3000
        movb    $0x30, 4(%rdi)
        movb    $0xeb, 5(%rdi)          // jmp back
        movb    $0xf9, 6(%rdi)
        movl    $0xfee00300, %ebx       // interrupt command: to all but itself
        movl    $0xc4500, (%rbx)
        movl    $0xc4610, (%rbx)
        movl    $0xc4610, (%rbx)
        movl    $0x1ffff8, %edi
1:      incq    (%rdi)
        jmp     1b
guestCountsOnTwoEnd:

// Asks the first virtio device, which has one queue, again and again for 16 bytes, waits for its interrupt each time,
// and counts at 2 MiB - 8.
        guest guestAsksForEver
        seeDevices
        useQueue
        movl    $0x180000, %edi
        movl    $0x183000, (%rdi)       // descriptor 0: address, size, writable
        movl    $16, 8(%rdi)
        movw    $2, 12(%rdi)
        movl    $0x181000, %esi
        movl    $0x182000, %edi
        movl    $0x1ffff8, %ebp
1:      incw    2(%rsi)                 // available: descriptor 0, at every place
        register 0x50, 0
        movw    2(%rsi), %cx
2:      cmpw    %cx, 2(%rdi)
        jne     2b
3:      movl    0x60(%rbx), %eax
        testl   %eax, %eax
        jz      3b
        movl    %eax, 0x64(%rbx)
        incq    (%rbp)
        jmp     1b
guestAsksForEverEnd:

// Waits for the generation id's interrupt, with interrupts off: it appears among those that the local APIC holds.
        guest guestWaitsForGeneration
        window  0xfec00000
        movl    $0x1f0000, %edi
        movq    $0xfee00083, %rax
        movq    %rax, (0x3ee00000 / 0x200000 * 8)(%rdi)
        movl    $0xfee00000, %esi
        movl    $0x1ff, 0xf0(%rsi)      // the local APIC is on
        movl    $0xfec00000, %ebx
        movl    $0x3b, (%rbx)           // layout::kGenerationGsi, 21: to the first processor
        movl    $0, 0x10(%rbx)
        movl    $0x3a, (%rbx)           // vector 0x40, an edge
        movl    $0x40, 0x10(%rbx)
        movb    $1, %al
        outb    %al, $0x80
1:      incq    0x1ffff8
        movl    0x220(%rsi), %eax
        testl   $1, %eax
        jz      1b
        movb    $0x77, %al
        outb    %al, $0x80
2:      hlt
        jmp     2b
guestWaitsForGenerationEnd:

// Writes to each of the pages from 4 MiB to 96 MiB, then says that it is there, again and again.
        .macro fill
        movl    $0x400000, %edi
1:      movq    %rdi, (%rdi)
        addl    $0x1000, %edi
        cmpl    $0x6000000, %edi
        jb      1b
        .endm
        guest guestRepeats
        fill
        movw    $0x3f8, %dx
        movb    $'\n', %al
2:      outb    %al, %dx
        movl    $20, %ecx
3:      decl    %ecx
        jnz     3b
        jmp     2b
guestRepeatsEnd:

// The same, then a program: says that it is there, and once more for everything that comes from its virtio console.
        guest guestReplies
        fill
        seeDevices
        useQueue
        movl    $0x180000, %edi
        movl    $0x183000, (%rdi)       // descriptor 0: address, size, writable
        movl    $1, 8(%rdi)
        movw    $2, 12(%rdi)
        movl    $0x181000, %esi
        movl    $0x182000, %edi
        movw    $0x3f8, %dx
        movb    $'\n', %al
4:      outb    %al, %dx
        incw    2(%rsi)                 // available: descriptor 0, at every place
        register 0x50, 0
        movw    2(%rsi), %cx
5:      cmpw    %cx, 2(%rdi)
        jne     5b
        jmp     4b
guestRepliesEnd:
        .section .note.GNU-stack,"",@progbits
