// For assembly: `guest name` begins a guest that C++ sees between `name` and `nameEnd`.
        .section .rodata
        .macro guest name
        .globl \name
        .globl \name\()End
\name:
        .code64
        .endm

// Maps 2 MiB of the devices' part of the address space: a page directory behind the boot's page tables, which
// identity-map the first GiB.
        .macro window from
        movl    $0x1f0000, %edi
        movq    $(\from + 0x83), %rax
        movq    %rax, ((\from - 0xc0000000) / 0x200000 * 8)(%rdi)
        movl    $0x1f0003, %eax
        movl    $0xa018, %ecx
        movq    %rax, (%rcx)
        .endm

// The first virtio device's registers are at %rbx.
        .macro seeDevices
        window  0xc0000000
        movl    $0xc0001000, %ebx       // layout::kVirtioMmio
        .endm
        .macro register offset value
        movl    $\value, \offset(%rbx)
        .endm

// Takes that device as it is, with its first queue: 8 descriptors at 0x180000, available at 0x181000, used at 0x182000.
        .macro useQueue
        register 0x70, 1
        register 0x70, 3
        register 0x24, 1
        register 0x20, 1
        register 0x70, 0xb
        register 0x30, 0
        register 0x38, 8
        register 0x80, 0x180000
        register 0x90, 0x181000
        register 0xa0, 0x182000
        register 0x44, 1
        register 0x70, 0xf
        .endm

// As hardware-reduced ACPI switches off: layout::kPowerPorts, kSleepControl, kSleepOff.
        .macro powerOff
        movw    $0x600, %dx
        movb    $0x34, %al
        outb    %al, %dx
9:      hlt
        jmp     9b
        .endm
