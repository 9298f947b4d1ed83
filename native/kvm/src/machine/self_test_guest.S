// The guest of self_test.cc: 64-bit kernel mode, position-independent, entered at its first byte. Each step ends with its
// number on port 0x80, so that the last number says what this machine's KVM could not do.
        .section .rodata
        .globl bulkheadSelfTestGuest
        .globl bulkheadSelfTestGuestEnd
        .hidden bulkheadSelfTestGuest, bulkheadSelfTestGuestEnd
bulkheadSelfTestGuest:
        .code64
        movb    $1, %al
        outb    %al, $0x80
        movl    $2000, %ecx             // kSelfTestLoops
1:      decl    %ecx
        jnz     1b
        movb    $2, %al
        outb    %al, $0x80

        // cmpxchg16b on the page behind the code
        leaq    bulkheadSelfTestGuestEnd(%rip), %rdi
        addq    $63, %rdi
        andq    $-64, %rdi
        xorl    %eax, %eax
        xorl    %edx, %edx
        movl    $1, %ebx
        xorl    %ecx, %ecx
        lock cmpxchg16b (%rdi)
        movb    $3, %al
        outb    %al, $0x80

        // CR4.OSFXSR and OSXSAVE, then xrstor of an area of zeroes (x87 and SSE in their first state)
        movl    $1, %eax
        cpuid
        btl     $26, %ecx
        jnc     2f
        movq    %cr4, %rax
        orq     $0x40200, %rax
        movq    %rax, %cr4
        leaq    64(%rdi), %rdi
        xorl    %edx, %edx
        movl    $3, %eax
        xrstor64 (%rdi)
        movb    $4, %al
        outb    %al, $0x80

2:      movw    $0x600, %dx             // layout::kPowerPorts, kSleepControl
        movb    $0x34, %al              // kSleepOff
        outb    %al, %dx
3:      hlt
        jmp     3b
bulkheadSelfTestGuestEnd:
        .section .note.GNU-stack,"",@progbits
