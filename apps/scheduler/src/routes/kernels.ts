import type { CreateKernel } from "@bulkhead/contracts";
import { answers, byReference, dryRun, query, ref } from "../http/answers.ts";
import { addDelete } from "../http/deleting.ts";
import { answerOnce, rehearse } from "../http/once.ts";
import { addGet, addList } from "../http/reading.ts";
import { changeOf } from "../http/request-context.ts";
import { kernelOf } from "../images/kernel-image.ts";
import { type AddRoutes, clientGone } from "./route-context.ts";

const tags = ["kernels"];
const one = byReference("kernel", "name or digest");

export const addKernelRoutes: AddRoutes = (app, { inventory, images }) => {
  app.post<{ Body: CreateKernel; Querystring: { dryRun?: boolean } }>(
    "/v1/kernels",
    {
      config: { access: "write" },
      schema: {
        operationId: "createKernel",
        summary: "Register the kernel that an image holds, for machines to run on",
        description:
          "The image is read: it has one layer, with boot/vmlinuz-RELEASE (bzImage or ELF) and lib/modules/RELEASE as depmod leaves it. Hosts fetch it by its digest and verify it when a machine needs it.",
        tags,
        querystring: query({ dryRun }),
        body: ref("CreateKernel"),
        response: answers({
          200: { description: "dry run: the kernel it would be", schema: ref("Kernel") },
          201: { description: "registered", schema: ref("Kernel") },
        }),
      },
    },
    async (request, reply) => {
      const change = changeOf(request);
      const { name, image: reference, default: isDefault = false } = request.body;
      const image = await inventory.read.image(change.project, reference);
      const { release, architecture } = await kernelOf(images, image, clientGone(reply.raw));
      const wanted = { name, digest: image.digest, release, architecture, default: isDefault };
      if (request.query.dryRun === true) {
        return reply.send(await rehearse(inventory, (tx) => tx.createKernel(change, wanted)));
      }
      await answerOnce({ request, reply, inventory }, async (tx) => {
        const kernel = await tx.createKernel(change, wanted);
        return { status: 201, headers: { location: `/v1/kernels/${kernel.name}` }, body: kernel };
      });
      return reply;
    },
  );

  addList(app, {
    noun: "kernels",
    schema: "Kernel",
    summary: "List kernels by name",
    read: ({ project }, page) => inventory.read.kernels(project, page),
  });

  addGet(app, {
    noun: "kernels",
    member: "kernel",
    schema: "Kernel",
    summary: "One kernel by name or digest, and which workloads run on it",
    params: one,
    read: (reference) => inventory.read.kernel(reference),
  });

  addDelete(app, inventory, {
    noun: "kernels",
    member: "kernel",
    schema: "Kernel",
    summary: "Forget a kernel that no workload runs on; its image stays",
    params: one,
    remove: (tx, change, kernel) => tx.deleteKernel(change, kernel),
  });
};
