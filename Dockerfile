# ray_asr on Ray's own image: for every pod of jobs/kuberay/, or a cluster of `ray up`.
#
#   docker build -t ray-asr:0.1.0-cpu .
#   docker build -t ray-asr:0.1.0-gpu --build-arg PLATFORM=gpu \
#     --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu130 .
#
# Ray and Python must be the same on all nodes; a test holds RAY and PYTHON to the package.
ARG RAY=2.60.0
ARG PYTHON=py311
# cpu, gpu, or a CUDA of Ray's images (cu128, ...). torch brings the CUDA that it computes with: what
# counts is the driver of the machine.
ARG PLATFORM=cpu
FROM rayproject/ray:${RAY}-${PYTHON}-${PLATFORM}

ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu

# Not root: "ray" (1000, of group 100) is the user of Ray's images. The folder is made by that user,
# who builds in it.
USER ray
RUN mkdir -p /home/ray/ray_asr
WORKDIR /home/ray/ray_asr

# torch alone and first, of its own index: a looser request would bring gigabytes of another build.
# What torch needs comes with the rest, in the versions of constraints.txt.
COPY --chown=ray:users constraints.txt ./
RUN pip install --no-cache-dir --no-deps --index-url "${TORCH_INDEX}" \
      "$(grep '^torch==' constraints.txt)"

COPY --chown=ray:users pyproject.toml README.md LICENSE NOTICE ./
COPY --chown=ray:users ray_asr ./ray_asr
RUN pip install --no-cache-dir . 'nvidia-ml-py>=12' -c constraints.txt && rm -rf build ./*.egg-info

# Each verb as a file, for `ray job submit -- python jobs/transcribe.py ...` without a working folder.
COPY --chown=ray:users jobs ./jobs

# The build fails where what was installed does not load.
RUN cd / && ray-asr --version && python -c "import torch, ray_asr.job.pipeline, ray_asr.verbs"
