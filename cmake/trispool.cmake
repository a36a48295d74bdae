# One helper per module: its DEPENDS are its link line, so an include that breaks the layering
# fails to link (and the layout check names it). x_test.c, x_fuzz.c and x_bench.c beside x.c are
# picked up by name.
include(GNUInstallDirs)
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)

set(CMAKE_C_STANDARD 11)
set(CMAKE_C_EXTENSIONS ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

option(TRISPOOL_FUZZ "build fuzzers with libFuzzer (clang)" OFF)
option(TRISPOOL_COVERAGE "source coverage of the parsers (clang)" OFF)
option(TRISPOOL_PLANTED "bugs to be found by the simulator can be switched on (base/fault.h)" OFF)
set(TRISPOOL_SANITIZE "" CACHE STRING "value of -fsanitize=, empty for none")

add_compile_options(-Wall -Wextra -Wshadow -Wconversion -Werror -fno-omit-frame-pointer)
add_compile_definitions(_GNU_SOURCE TRISPOOL_VERSION="${PROJECT_VERSION}")
include_directories(${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR})

if(TRISPOOL_PLANTED)
  add_compile_definitions(TRISPOOL_PLANTED)
endif()
if(TRISPOOL_SANITIZE)
  add_compile_options(-fsanitize=${TRISPOOL_SANITIZE} -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${TRISPOOL_SANITIZE})
endif()
if(TRISPOOL_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()
if(TRISPOOL_COVERAGE)
  add_compile_options(-fprofile-instr-generate -fcoverage-mapping)
  add_link_options(-fprofile-instr-generate -fcoverage-mapping)
endif()
if(CMAKE_BUILD_TYPE STREQUAL "Release")
  # Assertions stay on: ours do not depend on NDEBUG.
  set(CMAKE_C_FLAGS_RELEASE "-O2 -g")
  add_compile_options(-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3 -fstack-protector-strong
                      -fstack-clash-protection -fcf-protection -ftrivial-auto-var-init=zero)
  add_link_options(-Wl,-z,relro,-z,now,-z,noexecstack)
endif()
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
include(CheckPIESupported)
check_pie_supported()

# trispool_pkg(NAME pkg-config-name): an imported target PkgConfig::NAME
function(trispool_pkg name module)
  pkg_check_modules(${name} REQUIRED IMPORTED_TARGET GLOBAL ${module})
endfunction()
trispool_pkg(CHECK check)
trispool_pkg(LMDB lmdb)
trispool_pkg(EVENT libevent)
trispool_pkg(EVENT_PTHREADS libevent_pthreads)
trispool_pkg(OPENSSL openssl)
trispool_pkg(PROTOBUFC libprotobuf-c)
trispool_pkg(CARES libcares)
trispool_pkg(YAML yaml-0.1)
trispool_pkg(JANSSON jansson)
trispool_pkg(XXHASH libxxhash)
trispool_pkg(ZMQ libzmq)
trispool_pkg(SYSTEMD libsystemd)

# libraft before 0.22.1 loses committed entries (measured; Debian 12's own 0.15.0 among them). The
# header is asked too: pkg-config may look elsewhere than the compiler.
pkg_check_modules(RAFT QUIET IMPORTED_TARGET GLOBAL raft>=0.22.1)
if(NOT RAFT_FOUND)
  pkg_check_modules(RAFT_ANY QUIET raft)
  if(RAFT_ANY_FOUND)
    set(raft_here "here is ${RAFT_ANY_VERSION}, and versions before 0.22.1 lose committed entries")
  else()
    set(raft_here "here is none")
  endif()
  message(FATAL_ERROR "trispool needs libraft 0.22.1 or newer (cowsql's): ${raft_here}.\n"
    "Debian 13 has it as libraft-dev, Debian 12 in bookworm-backports; "
    "tests/support/setup.sh packages build installs it.")
endif()

# trispool_module(name DEPENDS modules... LIBS libraries... SOURCES extra generated sources...
#                 [EXCEPT regexes...] [ONLY regexes...])
# Library of all .c files of this folder (EXCEPT, ONLY: by the name of the file, where one folder
# holds two libraries); target names use _ for /.
function(trispool_module name)
  cmake_parse_arguments(M "" "" "DEPENDS;LIBS;SOURCES;EXCEPT;ONLY" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.c)
  if(M_EXCEPT)
    list(JOIN M_EXCEPT "|" except)
    list(FILTER sources EXCLUDE REGEX "/(${except})[^/]*$")
  endif()
  if(M_ONLY)
    list(JOIN M_ONLY "|" only)
    list(FILTER sources INCLUDE REGEX "/(${only})[^/]*$")
  endif()
  set(tests ${sources})
  list(FILTER sources EXCLUDE REGEX "_(test|fuzz|bench|main)\\.c$")
  list(FILTER tests INCLUDE REGEX "_(test|fuzz|bench)\\.c$")
  add_library(${name} STATIC ${sources} ${M_SOURCES})
  target_link_libraries(${name} PUBLIC ${M_DEPENDS} ${M_LIBS} Threads::Threads)
  foreach(file ${tests})
    get_filename_component(stem ${file} NAME_WE)
    trispool_check(${name}_${stem} ${file} ${name})
  endforeach()
endfunction()

# A process for each check, with ASan and a search for leaks at its end, costs up to 50 times what
# the check does: all checks of a program share one, unless some of them are to die, or the test
# says on top that it wants a process for each check (what it keeps between them would show).
function(trispool_one_process target file)
  file(STRINGS ${file} dying REGEX "raise_signal|exit_test|process for each check")
  if(NOT dying)
    set_property(TEST ${target} APPEND PROPERTY ENVIRONMENT CK_FORK=no)
  endif()
endfunction()

function(trispool_check target file)
  set(libs ${ARGN})
  if(file MATCHES "_test\\.c$")
    add_executable(${target} ${file})
    target_link_libraries(${target} PRIVATE ${libs} PkgConfig::CHECK)
    # Where the compiler ran: some wrappers (ccache) make __FILE__ relative to it.
    add_test(NAME ${target} COMMAND ${target} WORKING_DIRECTORY ${CMAKE_BINARY_DIR})
    # Check gives a test in a process of its own 4 seconds of the wall clock: on a busy machine that
    # is none at all.
    set_tests_properties(${target} PROPERTIES LABELS unit TIMEOUT 300
                         ENVIRONMENT CK_DEFAULT_TIMEOUT=120)
    trispool_one_process(${target} ${file})
  elseif(file MATCHES "_fuzz\\.c$" AND TRISPOOL_FUZZ)
    add_executable(${target} ${file})
    target_link_libraries(${target} PRIVATE ${libs})
    target_link_options(${target} PRIVATE -fsanitize=fuzzer)
  elseif(file MATCHES "_fuzz\\.c$")
    add_executable(${target} ${file} ${CMAKE_SOURCE_DIR}/base/fuzz_main.c)
    target_link_libraries(${target} PRIVATE ${libs})
    add_test(NAME ${target} COMMAND ${target})
    set_tests_properties(${target} PROPERTIES LABELS "unit;fuzz" TIMEOUT 300)
  else()
    add_executable(${target} EXCLUDE_FROM_ALL ${file})
    target_link_libraries(${target} PRIVATE ${libs})
  endif()
endfunction()

# trispool_program(name DEPENDS modules... SOURCES files...)
function(trispool_program name)
  cmake_parse_arguments(P "" "" "DEPENDS;SOURCES" ${ARGN})
  add_executable(${name} ${P_SOURCES})
  target_link_libraries(${name} PRIVATE ${P_DEPENDS})
  install(TARGETS ${name})
endfunction()
