# How Galley's own targets are made: warnings, sanitizers, one library per layer.

add_library(galley_warnings INTERFACE)
target_compile_options(galley_warnings INTERFACE
    $<$<COMPILE_LANGUAGE:C>:-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wmissing-prototypes
        -Wstrict-prototypes $<$<BOOL:${GALLEY_WERROR}>:-Werror>>
    $<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=-Wall,-Wextra,-Wshadow
        $<$<BOOL:${GALLEY_WERROR}>:-Werror=all-warnings>>)

add_library(galley_sanitize INTERFACE)
if(GALLEY_SANITIZE)
    target_compile_options(galley_sanitize INTERFACE
        $<$<NOT:$<COMPILE_LANGUAGE:CUDA>>:-fsanitize=${GALLEY_SANITIZE} -fno-omit-frame-pointer
        -fno-sanitize-recover=undefined> -g)
    target_link_options(galley_sanitize INTERFACE -fsanitize=${GALLEY_SANITIZE} -rdynamic)
    add_library(galley_keep_modules OBJECT ${CMAKE_SOURCE_DIR}/tests/sanitizers/keep_modules.c)
endif()

# galley_program(NAME): what every executable links beside its layers.
function(galley_program name)
    target_link_libraries(${name} PRIVATE galley_warnings galley_sanitize)
    if(GALLEY_SANITIZE)
        target_link_libraries(${name} PRIVATE galley_keep_modules)
    endif()
endfunction()

# galley_layer(NAME SOURCES file... LINK target...): the library of one layer, linked to the layers
# and packages it may use. Includes are written from the root of the layers: "data/batch.h".
function(galley_layer name)
    cmake_parse_arguments(LAYER "" "" "SOURCES;LINK" ${ARGN})
    add_library(galley_${name} STATIC ${LAYER_SOURCES})
    target_include_directories(galley_${name} PUBLIC ${CMAKE_SOURCE_DIR}/src ${CMAKE_SOURCE_DIR})
    target_compile_definitions(galley_${name} PUBLIC _GNU_SOURCE)
    target_link_libraries(galley_${name} PRIVATE galley_warnings galley_sanitize PUBLIC ${LAYER_LINK})
endfunction()
