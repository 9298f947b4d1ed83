import { execFile } from "node:child_process";
import { copyFile, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";

const execute = promisify(execFile);

/** A certificate authority of a test and a server's certificate by it, for 127.0.0.1 and localhost. */
export interface TestCertificates {
  readonly caFile: string;
  /** a directory with the authority's certificate alone, as skopeo and buildah want it */
  readonly trustDirectory: string;
  readonly certFile: string;
  readonly keyFile: string;
  /** the server's, PEM */
  readonly cert: string;
  readonly key: string;
}

const lifetime = ["-days", "2"];
const elliptic = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];

/** Makes certificates in a directory with openssl. */
export const makeCertificates = async (directory: string): Promise<TestCertificates> => {
  const path = (name: string) => join(directory, name);
  const [caFile, caKey, request, certFile, keyFile] = [
    "ca.crt",
    "ca.key",
    "server.csr",
    "server.crt",
    "server.key",
  ].map(path) as [string, string, string, string, string];
  const subject = (name: string) => ["-subj", `/CN=${name}`];
  await execute("openssl", [
    "req",
    "-x509",
    ...elliptic,
    ...subject("test authority"),
    ...lifetime,
    "-keyout",
    caKey,
    "-out",
    caFile,
  ]);
  await execute("openssl", ["req", ...elliptic, ...subject("127.0.0.1"), "-keyout", keyFile, "-out", request]);
  await writeFile(path("names.cnf"), "subjectAltName=IP:127.0.0.1,DNS:localhost\n");
  await execute("openssl", [
    "x509",
    "-req",
    ...lifetime,
    "-in",
    request,
    "-CA",
    caFile,
    "-CAkey",
    caKey,
    "-CAcreateserial",
    "-extfile",
    path("names.cnf"),
    "-out",
    certFile,
  ]);
  const [cert, key] = await Promise.all([readFile(certFile, "utf8"), readFile(keyFile, "utf8")]);
  const trustDirectory = path("trust");
  await mkdir(trustDirectory);
  await copyFile(caFile, join(trustDirectory, "ca.crt"));
  return { caFile, trustDirectory, certFile, keyFile, cert, key };
};
