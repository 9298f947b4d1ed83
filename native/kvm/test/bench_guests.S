// Guests of machine_bench.cc, entered as those of guests.S.
#include "guest_macro.S"

// Says that it is there, and waits for ever without costing anything.
        guest guestSaysHello
        movw    $0x3f8, %dx
        movb    $'\n', %al
        outb    %al, %dx
1:      hlt
        jmp     1b
guestSaysHelloEnd:

// A loop of kRounds rounds between two bytes on port 0x80, and the end.
        .macro timed name, work:vararg
        guest \name
        movl    $0x1f0000, %edi         // a page directory for the device window, as in guestUsesOneQueue
        movq    $0xc0000083, %rax
        movq    %rax, (%rdi)
        movl    $0x1f0003, %eax
        movl    $0xa018, %esi
        movq    %rax, (%rsi)
        movl    $0xc0001060, %ebx       // interrupt causes of the first virtio device
        movw    $0x999, %dx
        movl    $20000, %ecx            // kRounds
        outb    %al, $0x80
1:      \work
        decl    %ecx
        jnz     1b
        outb    %al, $0x80
        movw    $0x600, %dx
        movb    $0x34, %al
        outb    %al, %dx
2:      hlt
        jmp     2b
\name\()End:
        .endm
        timed guestDoesNothing, nop
        timed guestWritesToAPort, outb %al, %dx
        timed guestReadsARegister, movl (%rbx), %eax
        .section .note.GNU-stack,"",@progbits
