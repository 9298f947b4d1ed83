#include "init/entry.h"

int main(int argc, char** argv) {
  return bulkhead::init::runInit(argc, argv);
}
