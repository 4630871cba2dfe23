#include "ctrace.h"
