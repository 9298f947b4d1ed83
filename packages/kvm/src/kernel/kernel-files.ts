/** What a virtual machine boots: both files are read-only and shared by all machines of a host. */
export interface GuestKernel {
  /** as `uname -r` says it inside */
  readonly release: string;
  readonly image: string;
  readonly initramfs: string;
}
