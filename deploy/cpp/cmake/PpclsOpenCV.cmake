# The targets opencv_core and opencv_imgproc. Debian's packages of single modules have no CMake
# configuration; that of the whole OpenCV installs 700 MB.
find_package(OpenCV QUIET COMPONENTS core imgproc)
if(NOT TARGET opencv_core)
  find_path(PPCLS_OPENCV_INCLUDE_DIR opencv2/core.hpp PATH_SUFFIXES opencv4 REQUIRED)
  foreach(module core imgproc)
    find_library(PPCLS_OPENCV_${module} opencv_${module} REQUIRED)
    add_library(opencv_${module} SHARED IMPORTED)
    set_target_properties(opencv_${module} PROPERTIES
      IMPORTED_LOCATION "${PPCLS_OPENCV_${module}}"
      INTERFACE_INCLUDE_DIRECTORIES "${PPCLS_OPENCV_INCLUDE_DIR}")
  endforeach()
endif()
