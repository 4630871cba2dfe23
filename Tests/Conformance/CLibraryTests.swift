import NetmapTestSupport
import Testing

/// libnetmap's functions in programs that are linked with them, without a preload.
@Suite("libnetmap's functions")
struct CLibraryTests {
  static let rules = [
    Rule(
      "ports", "nmport_open, nmport_inject and nmport_close share one mapping for a region",
      .works(.library, "nmport_open", "nmport_inject", "nmport_close")),
    Rule(
      "clones", "a clone opens in the region of its model, and undoing twice does no harm",
      .works(
        .library, "nmport_clone", "nmport_open_desc", "nmport_undo_open_desc", "nmport_undo_prepare"
      ),
      .works(.names, "...@conf:rings=N,tx-slots=N")),
    Rule(
      "shares", "the option share opens a port in another one's region",
      .works(.names, "...@share=PORT")),
    Rule(
      "refusals", "names and options that are wrong fail with an errno and a message",
      .works(.library, "nmport_enable_option", "nmreq_find_option"),
      .works(.names, "...@offset=N")),
    Rule(
      "names", "port names are read as netmap reads them, and failures change nothing",
      .works(.library, "nmreq_header_decode", "nmreq_register_decode"),
      .works(
        .names, "netmap:NAME", "netmap:NAME-N", "netmap:NAME/RT", "netmap:NAME{ID",
        "netmap:NAME}ID",
        "valeSWITCH:PORT", "...@N")),
    Rule("waits", "libc's poll waits for ports of a program that is linked with the library"),
    Rule(
      "steps", "the steps of an open can be taken, undone and taken again one by one",
      .works(
        .library, "nmport_new", "nmport_parse", "nmport_register", "nmport_mmap",
        "nmport_undo_mmap",
        "nmport_undo_register", "nmport_undo_parse", "nmport_delete", "nmport_prepare")),
    Rule(
      "settings", "ports can have offsets, and options of port names can be switched off and on",
      .works(.library, "nmport_offset", "nmport_disable_option")),
    Rule(
      "memory", "ports lie in memory of the program, or in a file that ports share by its name",
      .works(.library, "nmport_extmem", "nmport_extmem_from_file", "nmport_extmem_getinfo"),
      .works(.names, "...@extmem=FILE")),
    Rule(
      "requests",
      "headers, lists of options, options of names and regions of ports are handled as by libnetmap",
      .works(
        .library, "nmreq_header_init", "nmreq_push_option", "nmreq_remove_option",
        "nmreq_free_options",
        "nmreq_option_name", "nmreq_options_decode", "nmreq_get_mem_id")),
    Rule(
      "contexts", "a program can have a context of its own, with its own functions",
      .works(
        .library, "nmctx_get", "nmctx_set_default", "nmctx_lock", "nmctx_unlock", "nmctx_malloc",
        "nmctx_free",
        "nmctx_ferror", "nmctx_set_threadsafe", "nmctx_threadsafe")),
  ]

  @Test("A program that is linked with -lnetmap works without a preload", arguments: rules)
  func rule(_ rule: Rule) throws {
    try CClients.expectSuccess("library", rule, .linked)
  }

  @Test("A program that loads the library with dlopen uses ports by the library's functions")
  func loaded() throws {
    try CClients.expectSuccess("loading", Rule("dlopen", ""), .linked)
  }
}
