/* keep_modules.c - keeps shared libraries loaded to the end in sanitizer builds. Open MPI unloads
 * its modules before LeakSanitizer looks, which then cannot say, nor suppress, whose a leak is. */

int dlclose(void *handle);

int dlclose(void *handle)
{
    (void)handle;
    return 0;
}
