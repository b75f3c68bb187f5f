/* Prints the best classes of an image, through the C interface: predict_c BUNDLE IMAGE */
#include <stdio.h>

#include "ppcls/ppcls.h"

int main(int argc, char** argv) {
  if (argc != 3) {
    fprintf(stderr, "usage: predict_c BUNDLE IMAGE\n");
    return 2;
  }
  ppcls_predictor* predictor = ppcls_open(argv[1], NULL, 0);
  if (predictor == NULL) {
    fprintf(stderr, "error: %s\n", ppcls_last_error());
    return 1;
  }
  ppcls_class classes[5];
  const int count = ppcls_predict(predictor, argv[2], classes, 5);
  if (count < 0) fprintf(stderr, "error: %s\n", ppcls_last_error());
  for (int i = 0; i < count; ++i) {
    printf("%d %s %.5f\n", classes[i].class_id, classes[i].label_name, classes[i].score);
  }
  ppcls_close(predictor);
  return count < 0 ? 1 : 0;
}
