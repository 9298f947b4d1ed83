// What a seccomp program decides, found by running it with the arguments left open (seccomp(2), linux/filter.h).

/** AUDIT_ARCH_X86_64 (linux/audit.h). */
const archX86_64 = 0xc000_003e;
/** struct seccomp_data: nr, arch, instruction pointer, arguments; the last two are not known beforehand. */
const offsetOfArch = 4;
const sizeOfData = 64;

/** Steps for one number; a path of the longest program the kernel takes has 4096. More is answered with "depends". */
const stepsMax = 100_000;

/** What can come of a call. `depends`: on its arguments, or on whoever supervises the process. */
export type Verdict = "allowed" | "depends" | "refused";

interface Instruction {
  readonly code: number;
  readonly jt: number;
  readonly jf: number;
  readonly k: number;
}

const decode = (program: Uint8Array): Instruction[] => {
  const view = new DataView(program.buffer, program.byteOffset, program.byteLength);
  return Array.from({ length: Math.floor(program.byteLength / 8) }, (_, at) => ({
    code: view.getUint16(at * 8, true),
    jt: view.getUint8(at * 8 + 2),
    jf: view.getUint8(at * 8 + 3),
    k: view.getUint32(at * 8 + 4, true),
  }));
};

/** undefined: anything */
type Word = number | undefined;

interface State {
  readonly at: number;
  readonly a: Word;
  readonly x: Word;
  readonly memory: readonly Word[];
}

const arithmetic = (operation: number, a: number, b: number): Word => {
  switch (operation) {
    case 0x00:
      return (a + b) >>> 0;
    case 0x10:
      return (a - b) >>> 0;
    case 0x20:
      return Math.imul(a, b) >>> 0;
    case 0x30:
      return b === 0 ? undefined : Math.floor(a / b);
    case 0x40:
      return (a | b) >>> 0;
    case 0x50:
      return (a & b) >>> 0;
    case 0x60:
      return b > 31 ? undefined : (a << b) >>> 0;
    case 0x70:
      return b > 31 ? undefined : a >>> b;
    case 0x90:
      return b === 0 ? undefined : a % b;
    case 0xa0:
      return (a ^ b) >>> 0;
    default:
      return undefined;
  }
};

const compare = (operation: number, a: Word, b: Word): boolean | undefined => {
  if (operation === 0x00) return true;
  if (a === undefined || b === undefined) return undefined;
  switch (operation) {
    case 0x10:
      return a === b;
    case 0x20:
      return a > b;
    case 0x30:
      return a >= b;
    case 0x40:
      return (a & b) !== 0;
    default:
      return undefined;
  }
};

const loaded = ({ k }: Instruction, number: number): Word =>
  k === 0 ? number : k === offsetOfArch ? archX86_64 : undefined;

/** States that may follow, or the value returned. */
const follow = (state: State, instruction: Instruction, number: number): State[] | { readonly returned: Word } => {
  const { code, jt, jf, k } = instruction;
  const next = { ...state, at: state.at + 1 };
  const operand = (code & 0x08) !== 0 ? state.x : k;
  switch (code & 0x07) {
    case 0x00: {
      const mode = code & 0xe0;
      if (mode === 0x20) return [{ ...next, a: loaded(instruction, number) }];
      return [
        { ...next, a: mode === 0x00 ? k : mode === 0x60 ? state.memory[k] : mode === 0x80 ? sizeOfData : undefined },
      ];
    }
    case 0x01: {
      const mode = code & 0xe0;
      return [
        { ...next, x: mode === 0x00 ? k : mode === 0x60 ? state.memory[k] : mode === 0x80 ? sizeOfData : undefined },
      ];
    }
    case 0x02:
      return [{ ...next, memory: state.memory.with(k, state.a) }];
    case 0x03:
      return [{ ...next, memory: state.memory.with(k, state.x) }];
    case 0x04: {
      const operation = code & 0xf0;
      if (operation === 0x80) return [{ ...next, a: state.a === undefined ? undefined : -state.a >>> 0 }];
      const known = state.a !== undefined && operand !== undefined;
      return [{ ...next, a: known ? arithmetic(operation, state.a, operand) : undefined }];
    }
    case 0x05: {
      if ((code & 0xf0) === 0x00) return [{ ...next, at: next.at + k }];
      const taken = compare(code & 0xf0, state.a, operand);
      const either = [
        { ...next, at: next.at + jt },
        { ...next, at: next.at + jf },
      ];
      if (taken === undefined) return either;
      return either.slice(taken ? 0 : 1, taken ? 1 : 2);
    }
    case 0x06:
      return { returned: (code & 0x18) === 0x10 ? state.a : k };
    default:
      return [(code & 0x80) === 0 ? { ...next, x: state.a } : { ...next, a: state.x }];
  }
};

/** Every value a program may return for one number; undefined among them: any value. */
const outcomes = (program: readonly Instruction[], number: number): Set<Word> => {
  const found = new Set<Word>();
  const open: State[] = [{ at: 0, a: 0, x: 0, memory: Array.from({ length: 16 }, () => 0) }];
  for (let steps = 0; open.length > 0; steps += 1) {
    const state = open.pop();
    const instruction = state === undefined ? undefined : program[state.at];
    if (state === undefined || instruction === undefined || steps > stepsMax) return found.add(undefined);
    const result = follow(state, instruction, number);
    if (Array.isArray(result)) open.push(...result);
    else found.add(result.returned);
  }
  return found;
};

/** SECCOMP_RET_* (linux/seccomp.h): the action is in the upper half, signed by its highest bit. */
const actions: Readonly<Record<number, string>> = {
  0x8000_0000: "kills the process",
  0x0000_0000: "kills the thread",
  0x0003_0000: "signals SIGSYS",
  0x7fc0_0000: "asks a supervisor",
  0x7ff0_0000: "asks a tracer",
  0x7ffc_0000: "allowed, and logged",
  0x7fff_0000: "allowed",
};
const returnErrno = 0x0005_0000;

const verdictOf = (value: Word): Verdict => {
  const action = value === undefined ? undefined : (value & 0xffff_0000) >>> 0;
  if (action === 0x7fff_0000 || action === 0x7ffc_0000) return "allowed";
  return action === undefined || action === 0x7fc0_0000 || action === 0x7ff0_0000 ? "depends" : "refused";
};

/** What a returned value means, for people. */
const describeAction = (value: number): string => {
  const action = (value & 0xffff_0000) >>> 0;
  return action === returnErrno ? `fails with errno ${value & 0xffff}` : (actions[action] ?? "kills the process");
};

/** A process's stacked programs. The kernel runs all of them, and the strictest answer counts. */
export class SeccompFilters {
  readonly #programs: readonly (readonly Instruction[])[];

  constructor(programs: readonly Uint8Array[]) {
    this.#programs = programs.map(decode);
  }

  /** Whether a call of this number can be made by a 64-bit program. */
  verdict(number: number): Verdict {
    const verdicts = this.#programs.map((program) => {
      const possible = new Set([...outcomes(program, number)].map(verdictOf));
      const [only] = possible;
      return possible.size === 1 && only !== undefined ? only : "depends";
    });
    return verdicts.includes("refused") ? "refused" : verdicts.includes("depends") ? "depends" : "allowed";
  }

  /** What happens with a number, when that is certain. */
  describe(number: number): string | null {
    const values = this.#programs.flatMap((program) => [...outcomes(program, number)]);
    if (values.includes(undefined)) return null;
    const refusals = values.filter((value) => value !== undefined && verdictOf(value) === "refused");
    const told = [...new Set((refusals.length > 0 ? refusals : values).map((value) => describeAction(value ?? 0)))];
    return told.length === 1 ? (told[0] ?? null) : null;
  }
}
