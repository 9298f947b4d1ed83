/* Listens at argv[1], prints the state it is sent, and answers the first call it is asked about with ENOTTY. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int main(int argc, char **argv) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  if (argc != 2) return 2;
  strncpy(address.sun_path, argv[1], sizeof address.sun_path - 1);
  const int server = socket(AF_UNIX, SOCK_STREAM, 0);
  if (bind(server, (struct sockaddr *)&address, sizeof address) < 0 || listen(server, 1) < 0) return 3;
  puts("ready");
  fflush(stdout);
  const int connection = accept(server, NULL, NULL);
  char state[65536];
  char control[CMSG_SPACE(sizeof(int))];
  struct iovec part = {state, sizeof state - 1};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  ssize_t size = recvmsg(connection, &message, 0);
  const struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  if (size <= 0 || header == NULL) return 4;
  int notify;
  memcpy(&notify, CMSG_DATA(header), sizeof notify);
  /* The rest of the state comes without descriptors, until the sender execs. */
  for (ssize_t more; (more = read(connection, state + size, sizeof state - 1 - size)) > 0;) size += more;
  state[size] = '\0';
  printf("%s\n", state);
  struct seccomp_notif asked;
  memset(&asked, 0, sizeof asked);
  if (ioctl(notify, SECCOMP_IOCTL_NOTIF_RECV, &asked) < 0) return 5;
  struct seccomp_notif_resp answer = {.id = asked.id, .error = -ENOTTY};
  if (ioctl(notify, SECCOMP_IOCTL_NOTIF_SEND, &answer) < 0) return 6;
  printf("asked by %u\n", asked.pid);
  return 0;
}
