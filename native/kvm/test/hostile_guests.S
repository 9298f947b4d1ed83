// Guests that mean harm: position-independent, in 64-bit kernel mode, entered at their first byte.
#include "guest_macro.S"

// Shows that it runs, for ever.
        guest guestTicks
1:      outb    %al, $0x80
        jmp     1b
guestTicksEnd:

// Rings the first device's doorbell for ever, mostly with a request behind it: a queue of 8, of 64 KiB each.
        guest guestStorms
        seeDevices
        useQueue
        movl    $0x180000, %edi
        movl    $0x190000, (%rdi)       // descriptor 0: address, size, writable
        movl    $0x10000, 8(%rdi)
        movw    $2, 12(%rdi)
        movl    $0x181000, %esi         // every request is descriptor 0
        movl    $0x182000, %edi
1:      movw    2(%rsi), %ax
        subw    2(%rdi), %ax
        cmpw    $8, %ax
        jae     2f
        incw    2(%rsi)
2:      movl    $0, 0x50(%rbx)
        jmp     1b
guestStormsEnd:

// Says without end: the queue of the first device's first port is kept full, with 8 requests of 64 KiB each.
        guest guestSaysWithoutEnd
        seeDevices
        register 0x70, 1
        register 0x70, 3
        register 0x24, 1
        register 0x20, 1
        register 0x70, 0xb
        register 0x30, 1                // Ports::sendQueue(0)
        register 0x38, 8
        register 0x80, 0x180000
        register 0x90, 0x181000
        register 0xa0, 0x182000
        register 0x44, 1
        register 0x70, 0xf
        movl    $0x180000, %edi
        movl    $0x190000, (%rdi)       // descriptor 0: address, size
        movl    $0x10000, 8(%rdi)
        movl    $0x181000, %esi         // every request is descriptor 0
        movl    $0x182000, %edi
        movw    $8, 2(%rsi)
        register 0x50, 1
1:      movw    2(%rdi), %ax
        addw    $8, %ax
        movw    %ax, 2(%rsi)
        jmp     1b
guestSaysWithoutEndEnd:

// Fills its serial port for ever, a page at a time.
        guest guestFloods
        movw    $0x3f8, %dx
1:      movl    $0x100000, %esi
        movl    $4096, %ecx
        rep outsb
        jmp     1b
guestFloodsEnd:

// Waits for an interrupt that it has forbidden.
        guest guestIsDeaf
        cli
1:      hlt
        jmp     1b
guestIsDeafEnd:

// Does nothing, without a pause.
        guest guestSpins
        cli
1:      jmp     1b
guestSpinsEnd:

// Reads every place of two devices' registers, across their ends too, and writes back what it read: 1, 2, 4 and 8 bytes.
        guest guestReachesEverywhere
        seeDevices
        xorl    %esi, %esi
1:      movb    (%rbx,%rsi), %al
        movb    %al, (%rbx,%rsi)
        movw    (%rbx,%rsi), %ax
        movw    %ax, (%rbx,%rsi)
        movl    (%rbx,%rsi), %eax
        movl    %eax, (%rbx,%rsi)
        movq    (%rbx,%rsi), %rax
        movq    %rax, (%rbx,%rsi)
        incl    %esi
        cmpl    $0x110, %esi
        jne     2f
        movl    $0xff0, %esi            // the first device's end, and the second's beginning
2:      cmpl    $0x1010, %esi
        jne     3f
        movl    $0x1ff0, %esi           // the second's end, and nobody's beginning
3:      cmpl    $0x2008, %esi
        jne     1b
        movb    $0x55, %al
        outb    %al, $0x80
        powerOff
guestReachesEverywhereEnd:

// Whole strings to and from a port: 1000 times 1, 2 and 4 bytes, each port but the switch and the reset by bytes.
        .macro strings port
        movw    $\port, %dx
        movl    $0x100000, %esi
        movl    $1000, %ecx
        rep outsw
        movl    $0x100000, %esi
        movl    $1000, %ecx
        rep outsl
        movl    $0x180000, %edi
        movl    $1000, %ecx
        rep insb
        movl    $1000, %ecx
        rep insw
        movl    $1000, %ecx
        rep insl
        .endm
        guest guestSendsStrings
        strings 0x3f8
        strings 0x3fd
        strings 0x3ff
        strings 0x600
        strings 0x603
        strings 0x60
        strings 0x64
        strings 0x80
        strings 0x7f
        strings 0xcf8
        strings 0xffff
        movl    $0x100000, %esi
        movl    $1000, %ecx
        movw    $0x3ff, %dx
        rep outsb
        movb    $0x55, %al
        outb    %al, $0x80
        powerOff
guestSendsStringsEnd:

// Fills what it was started with, but its page tables and itself: boot parameters, command line, ACPI tables.
        .macro fill from to
        movl    $\from, %edi
        movl    $(\to - \from) / 8, %ecx
        movq    $-1, %rax
        rep stosq
        .endm
        guest guestOverwritesWhatItWasGiven
        fill    0x0, 0x8000
        fill    0x20000, 0x21000
        fill    0xe0000, 0x100000
        powerOff
guestOverwritesWhatItWasGivenEnd:
        .section .note.GNU-stack,"",@progbits
