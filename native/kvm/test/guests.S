// Guests of the tests: position-independent, in 64-bit kernel mode, entered at their first byte. Each is between its
// name and its name with "End".
#include "guest_macro.S"

// Copies its command line to the serial port and switches the machine off.
        guest guestEchoesCommandLine
        movl    0x228(%rsi), %esi       // boot_params: cmd_line_ptr
        movw    $0x3f8, %dx
1:      movb    (%rsi), %al
        testb   %al, %al
        jz      2f
        outb    %al, %dx
        incq    %rsi
        jmp     1b
2:      powerOff
guestEchoesCommandLineEnd:

// Says the byte that lies 8 MiB behind where it is loaded.
        guest guestReadsFarAhead
        movl    $0x900000, %esi
        movb    (%rsi), %al
        movw    $0x3f8, %dx
        outb    %al, %dx
        powerOff
guestReadsFarAheadEnd:

// Counts in memory at 2 MiB - 8 for ever.
        guest guestCounts
        movl    $0x1ffff8, %edi
        movb    $1, %al
        outb    %al, $0x80
1:      incq    (%rdi)
        jmp     1b
guestCountsEnd:

// Adds to a place where nobody is: a read and a write by one instruction.
        guest guestAddsToNowhere
        movl    $0x30000000, %edi
1:      addl    $1, (%rdi)
        jmp     1b
guestAddsToNowhereEnd:

// Copies the first two registers of the first virtio device by one instruction, and counts at 2 MiB - 8 for as long as
// they are what they are; says 0xee and stops otherwise.
        guest guestCopiesRegisters
        seeDevices
        movl    $0x1ffff8, %ebp
1:      movl    %ebx, %esi
        movl    $0x180000, %edi
        movl    $2, %ecx
        movq    $0, (%rdi)
        rep movsl
        cmpl    $0x74726976, 0x180000   // "virt"
        jne     2f
        cmpl    $2, 0x180004            // the version
        jne     2f
        incq    (%rbp)
        jmp     1b
2:      movb    $0xee, %al
        outb    %al, $0x80
3:      hlt
        jmp     3b
guestCopiesRegistersEnd:

// Asks for a reset as a PC does.
        guest guestResets
        movb    $0xfe, %al
        outb    %al, $0x64
1:      hlt
        jmp     1b
guestResetsEnd:

// Says that it panics, when the port is what a kernel looks for, and resets otherwise.
        guest guestPanics
        movw    $0x505, %dx
        inb     %dx, %al
        testb   $1, %al
        jz      1f
        movb    $1, %al
        outb    %al, %dx
1:      movb    $0xfe, %al
        outb    %al, $0x64
2:      hlt
        jmp     2b
guestPanicsEnd:

// Faults without anybody to handle it.
        guest guestFaultsThrice
        ud2
guestFaultsThriceEnd:

// Reads and writes of every size at ports and addresses where nobody is, then a report of what came back.
        guest guestReachesNowhere
        movw    $0x999, %dx
        inb     %dx, %al
        inw     %dx, %ax
        inl     %dx, %eax
        outl    %eax, %dx
        cmpl    $-1, %eax
        jne     1f
        movw    $0x3f9, %dx             // across registers of the serial port, and over its end
        inl     %dx, %eax
        movw    $0x3ff, %dx
        inl     %dx, %eax
        movb    $0x55, %al
        outb    %al, $0x80
1:      movw    $0x602, %dx
        movb    $1, %al
        outb    %al, %dx
2:      hlt
        jmp     2b
guestReachesNowhereEnd:

// Drives the first virtio device, which has one queue, as far as one request of 16 bytes; says what the interrupt was.
        guest guestUsesOneQueue
        seeDevices
        useQueue
        movl    $0x180000, %edi
        movl    $0x183000, (%rdi)       // descriptor 0: address, size, writable
        movl    $16, 8(%rdi)
        movw    $2, 12(%rdi)
        movl    $0x181000, %edi
        movw    $1, 2(%rdi)             // available: descriptor 0
        register 0x50, 0
        movl    $0x182000, %edi
1:      movw    2(%rdi), %ax
        testw   %ax, %ax
        jz      1b
2:      movl    0x60(%rbx), %eax        // the interrupt follows the used index
        testl   %eax, %eax
        jz      2b
        outb    %al, $0x80
        powerOff
guestUsesOneQueueEnd:
        .section .note.GNU-stack,"",@progbits
