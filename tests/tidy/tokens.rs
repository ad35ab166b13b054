//! Macros and attributes have no syntax tree: here their tokens are read instead.

use crate::{names, syntax::Checker};
use proc_macro2::{Delimiter, TokenStream, TokenTree};

impl Checker<'_> {
    /// Judges `tokens`. `prefix` is the path before a brace in a `use`, as `a::b` in `a::b::{c, d}`.
    pub fn check_tokens(&mut self, tokens: TokenStream, prefix: &[String]) {
        let trees: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        while at < trees.len() {
            let line = trees[at].span().start().line;
            match &trees[at] {
                TokenTree::Group(group) => self.check_tokens(group.stream(), &[]),
                TokenTree::Ident(ident) if is_member(&trees, at) => {
                    let arguments = trees.get(at + 1).and_then(parentheses);
                    if arguments.is_some() || double_colon(&trees, at + 1) {
                        let none = arguments.is_some_and(|arguments| arguments.is_empty());
                        self.check_method(&names::plain(ident), none, line);
                    }
                }
                TokenTree::Ident(_) => {
                    at = self.check_token_path(&trees, at, prefix);
                    continue;
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => {}
            }
            at += 1;
        }
    }

    /// Reads the path that begins at `at` and returns where it ends.
    fn check_token_path(&mut self, trees: &[TokenTree], at: usize, prefix: &[String]) -> usize {
        let line = trees[at].span().start().line;
        let leading = at >= 2 && double_colon(trees, at - 2);
        let continued = at >= 3 && leading && is_path_end(&trees[at - 3]);
        let mut path = prefix.to_vec();
        let mut next = at;
        let mut open = true;
        while let (true, Some(TokenTree::Ident(ident))) = (open, trees.get(next)) {
            path.push(names::plain(ident));
            open = double_colon(trees, next + 1);
            next += if open { 3 } else { 1 };
        }
        if let (true, Some(TokenTree::Group(group))) = (open, trees.get(next))
            && group.delimiter() == Delimiter::Brace
        {
            self.check_tokens(group.stream(), &path);
            return next + 1;
        }
        match path.last() {
            Some(last) if continued => self.check_panic_method(last, line),
            _ => self.check_path(&path, leading, line),
        }
        let called = matches!(trees.get(next), Some(TokenTree::Punct(punct)) if punct.as_char() == '!')
            && matches!(trees.get(next + 1), Some(TokenTree::Group(_)));
        if let (true, Some(name)) = (called, path.last()) {
            self.check_macro(name, line);
        }
        next
    }
}

/// Is the identifier at `at` a field or method, after one dot (two are a range)?
fn is_member(trees: &[TokenTree], at: usize) -> bool {
    let dot = |back: usize| {
        let tree = at.checked_sub(back).map(|index| &trees[index]);
        matches!(tree, Some(TokenTree::Punct(punct)) if punct.as_char() == '.')
    };
    dot(1) && !dot(2)
}

fn double_colon(trees: &[TokenTree], at: usize) -> bool {
    let colon = |at: usize| matches!(trees.get(at), Some(TokenTree::Punct(punct)) if punct.as_char() == ':');
    colon(at) && colon(at + 1)
}

fn is_path_end(tree: &TokenTree) -> bool {
    match tree {
        TokenTree::Ident(_) => true,
        TokenTree::Punct(punct) => punct.as_char() == '>',
        TokenTree::Group(_) | TokenTree::Literal(_) => false,
    }
}

fn parentheses(tree: &TokenTree) -> Option<TokenStream> {
    match tree {
        TokenTree::Group(group) if group.delimiter() == Delimiter::Parenthesis => Some(group.stream()),
        _ => None,
    }
}
