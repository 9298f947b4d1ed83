import { insideId, isPlain, socketsMax, type SharedSocket } from "./socket-directory.ts";

/** A socket as the frames between host and guest name it: native/guest/src/socket_list.h. */
export const wordOf = ({ name, mode, uid, gid }: SharedSocket): string => `${mode.toString(8)}:${uid}:${gid}:${name}\0`;

const form = /^([0-7]{1,4}):(\d{1,10}):(\d{1,10}):(.*)$/s;

/** A program may have given it a name that is none here: then it is not there. */
const readWord = (word: string): SharedSocket[] => {
  const [, mode = "", uid = "", gid = "", name = ""] = form.exec(word) ?? [];
  if (!isPlain(name)) return [];
  return [{ name, mode: Number.parseInt(mode, 8) & 0o777, uid: insideId(Number(uid)), gid: insideId(Number(gid)) }];
};

/** Reads a guest's list. Throws when it is none, or too long. */
export const readSockets = (bytes: Buffer): SharedSocket[] => {
  const words = bytes.toString("utf8").split("\0");
  if (words.pop() !== "" || words.length > socketsMax) throw new Error("the guest's list of sockets is none");
  return words.flatMap(readWord);
};
