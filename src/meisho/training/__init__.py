"""Training: labelled photos -> the weights that extractors read.

A run goes through these files in this order; `train.train` is the front door, `meisho train` its shell.

| file             | what it holds                                                                  |
|------------------|--------------------------------------------------------------------------------|
| **the recipe**   | **what is to be done**                                                         |
| recipe           | a run as it stands in TOML: reading it, and checking that its tables agree     |
| recipe_tables    | one class for each table: its keys, defaults and limits                        |
| ranges           | the range of every number in them                                              |
| **the photos**   | **what is learned from**                                                       |
| data             | labelled photos -> those trained on, and landmarks held out                    |
| photo_cache      | photos decoded once, at a reduced size, in one file                            |
| sampling         | which photos make an epoch and its batches                                     |
| mining           | batches of photos that the network finds hard to tell apart                    |
| augmentation     | a photo -> a crop of it, changed at random                                     |
| loading          | batches -> tensors, ahead of their use, in worker processes                    |
| skipped          | photos that cannot be read: told once, and written down                        |
| **the network**  | **what learns**                                                                |
| network          | a descriptor network with its losses, and what it leaves for extraction        |
| task             | what is trained, validated and saved: a global descriptor                      |
| local_task       | the same for the local head of DELG                                            |
| teacher          | another model, or its own average, that the network learns from                |
| **a step**       | **how it learns**                                                              |
| accelerator      | devices, precision and processes                                               |
| distribution     | rows and gradients of several processes as one batch                           |
| optimiser        | which weights decay, and which learn at which rate                             |
| schedule         | rate, input size and frozen layers, step by step                               |
| ema              | the moving average of the weights                                              |
| learner          | one optimiser step: batch -> losses, gradients, weights                        |
| divergence       | a loss or gradient that is not a number: where it came from                    |
| **the run**      | **from the first step to the last**                                            |
| train            | the front door: a recipe and a folder -> a trained model                       |
| loop             | epoch after epoch: steps, validation, saving                                   |
| meter            | what the steps of an epoch gave and took                                       |
| validation       | how well the descriptors retrieve, scored as `meisho evaluate` does            |
| history          | the record of each epoch as a line, a table, curves and TensorBoard's files    |
| state            | all that `--resume` needs                                                      |
| interruption     | Ctrl-C and SIGTERM: stop after a whole step                                    |
| **afterwards**   | **what becomes of the weights**                                                |
| averaging        | the mean of the weights before and after, if validation gains by it            |
| whiten           | a whitening fitted on the photos trained on, if validation gains by it         |
| export           | a trained model as one ONNX file, for use without torch                        |
| feature_graph    | a backbone as an ONNX graph without weights, which comes with the package      |
"""
