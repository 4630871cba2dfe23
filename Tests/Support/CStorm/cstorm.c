#include "cstorm.h"
