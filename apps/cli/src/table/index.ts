import type { Command } from "../command.ts";
import { fleetCommands } from "./fleet.ts";
import { kernelCommands } from "./kernels.ts";
import { localCommands } from "./local.ts";
import { shareCommands } from "./shares.ts";
import { snapshotCommands } from "./snapshots.ts";
import { tokenCommands } from "./tokens.ts";
import { workloadCommands } from "./workloads.ts";

/** Commands by what they are about, in the order help shows them. */
export const commandGroups: readonly { readonly title: string; readonly commands: readonly Command[] }[] = [
  { title: "Workloads and instances", commands: workloadCommands },
  { title: "Shares", commands: shareCommands },
  { title: "Snapshots", commands: snapshotCommands },
  { title: "Images, hosts and events", commands: fleetCommands },
  { title: "Kernels of virtual machines", commands: kernelCommands },
  { title: "Who may do what", commands: tokenCommands },
  { title: "This machine", commands: localCommands },
];

/** The one command table. */
export const commands: readonly Command[] = commandGroups.flatMap((group) => group.commands);
