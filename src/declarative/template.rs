//! decK's templates: `${{ env "DECK_X" }}` is replaced in the text before it is parsed, as decK does.
//!
//! The language is the part of Go's templates that decK documents: the functions `env`, `toBool`, `toInt`, `toFloat` and
//! `indent`, pipes, parentheses, string and number literals, `-` as trim marker. Expressions on comment lines are left alone.

use std::borrow::Cow;

use super::environment::Environment;

/// Where an expansion replaced text: byte ranges before and after.
#[derive(Clone, Copy, Debug)]
pub struct Replaced {
    /// Where the expression stood.
    pub from: (usize, usize),
    /// Where its value stands.
    pub to: (usize, usize),
}

/// What is wrong with one expression.
#[derive(Debug)]
pub struct Fault {
    /// Byte offset of the expression.
    pub at: usize,
    pub message: String,
}

/// Text with its expressions replaced.
#[derive(Debug)]
pub struct Expanded<'t> {
    pub text: Cow<'t, str>,
    pub replaced: Vec<Replaced>,
}

const OPEN: &str = "${{";
const CLOSE: &str = "}}";

/// Expands every expression.
///
/// # Errors
/// Every expression that is malformed, asks for a variable without the prefix `DECK_`, or for one that is not set.
pub fn expand<'t>(text: &'t str, environment: &Environment) -> Result<Expanded<'t>, Vec<Fault>> {
    if memchr::memmem::find(text.as_bytes(), OPEN.as_bytes()).is_none() {
        return Ok(Expanded { text: text.into(), replaced: Vec::new() });
    }
    let mut output = String::with_capacity(text.len());
    let (mut replaced, mut faults) = (Vec::new(), Vec::new());
    let mut rest = text;
    while let Some((before, inside)) = rest.split_once(OPEN) {
        let start = text.len() - rest.len() + before.len();
        output.push_str(before);
        let line = text.get(..start).and_then(|before| before.rsplit('\n').next()).unwrap_or_default();
        if line.trim_start().starts_with('#') {
            output.push_str(OPEN);
            rest = inside;
            continue;
        }
        let Some((mut expression, after)) = split_expression(inside) else {
            faults.push(Fault { at: start, message: "unclosed '${{': expected '}}' on the same line".into() });
            output.push_str(OPEN);
            rest = inside;
            continue;
        };
        let end = text.len() - after.len();
        rest = after;
        if let Some(trimmed) = expression.strip_prefix("- ") {
            expression = trimmed;
            output.truncate(output.trim_end().len());
        }
        if let Some(trimmed) = expression.strip_suffix(" -") {
            expression = trimmed;
            rest = rest.trim_start();
        }
        match evaluate(expression, environment) {
            Ok(value) => {
                let from = output.len();
                output.push_str(&value);
                replaced.push(Replaced { from: (start, end), to: (from, output.len()) });
            }
            Err(message) => faults.push(Fault { at: start, message }),
        }
    }
    output.push_str(rest);
    if faults.is_empty() { Ok(Expanded { text: output.into(), replaced }) } else { Err(faults) }
}

/// Splits at the `}}` that closes the expression, not at one inside a string literal. An expression does not span lines.
fn split_expression(text: &str) -> Option<(&str, &str)> {
    let mut quote = None;
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        match (quote, byte) {
            (_, b'\n') => return None,
            (Some(b'"'), _) if escaped => escaped = false,
            (Some(b'"'), b'\\') => escaped = true,
            (Some(open), _) if open == byte => quote = None,
            (Some(_), _) => {}
            (None, b'"' | b'`') => quote = Some(byte),
            (None, b'}') => {
                let (expression, close) = text.split_at_checked(at)?;
                if let Some(after) = close.strip_prefix(CLOSE) {
                    return Some((expression, after));
                }
            }
            (None, _) => {}
        }
    }
    None
}

fn evaluate(expression: &str, environment: &Environment) -> Result<String, String> {
    let trimmed = expression.trim();
    if trimmed.starts_with("/*") && trimmed.ends_with("*/") {
        return Ok(String::new());
    }
    let mut evaluation = Evaluation { tokens: tokens(trimmed)?.into(), environment };
    let value = evaluation.pipeline(0)?;
    if evaluation.tokens.is_empty() { Ok(value) } else { Err("unexpected ')' in template expression".into()) }
}

#[derive(Debug, PartialEq)]
enum Token {
    Name(String),
    Text(String),
    Open,
    Close,
    Pipe,
}

fn tokens(expression: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut chars = expression.char_indices().peekable();
    while let Some((at, char)) = chars.next() {
        match char {
            ' ' | '\t' | '\r' => {}
            '(' => tokens.push(Token::Open),
            ')' => tokens.push(Token::Close),
            '|' => tokens.push(Token::Pipe),
            '`' => {
                let text: String = chars.by_ref().map(|(_, char)| char).take_while(|&char| char != '`').collect();
                tokens.push(Token::Text(text));
            }
            '"' => {
                let mut text = String::new();
                loop {
                    match chars.next().map(|(_, char)| char) {
                        None => return Err("unterminated string in template expression".into()),
                        Some('"') => break,
                        Some('\\') => text.push(match chars.next().map(|(_, char)| char) {
                            Some('n') => '\n',
                            Some('t') => '\t',
                            Some('r') => '\r',
                            Some(char @ ('"' | '\\')) => char,
                            _ => return Err("unknown escape in template expression".into()),
                        }),
                        Some(char) => text.push(char),
                    }
                }
                tokens.push(Token::Text(text));
            }
            char if char.is_ascii_alphanumeric() || "_.-+$".contains(char) => {
                let mut end = at + char.len_utf8();
                while let Some((next, char)) =
                    chars.next_if(|(_, char)| char.is_ascii_alphanumeric() || "_.-+".contains(*char))
                {
                    end = next + char.len_utf8();
                }
                tokens.push(Token::Name(expression.get(at..end).unwrap_or_default().into()));
            }
            _ => return Err(format!("unexpected '{char}' in template expression")),
        }
    }
    Ok(tokens)
}

/// How deep parentheses may nest.
const DEPTH: usize = 16;

struct Evaluation<'e> {
    tokens: std::collections::VecDeque<Token>,
    environment: &'e Environment,
}

impl Evaluation<'_> {
    /// `command | command …`: each command gets the value before it as its last argument.
    fn pipeline(&mut self, depth: usize) -> Result<String, String> {
        if depth > DEPTH {
            return Err("template expression is nested too deeply".into());
        }
        let mut value = None;
        loop {
            value = Some(self.command(value, depth)?);
            if self.tokens.front() != Some(&Token::Pipe) {
                return Ok(value.unwrap_or_default());
            }
            self.tokens.pop_front();
        }
    }

    fn command(&mut self, piped: Option<String>, depth: usize) -> Result<String, String> {
        let function = match self.tokens.pop_front() {
            Some(Token::Name(name)) if !name.starts_with(|char: char| char.is_ascii_digit() || char == '-') => name,
            Some(Token::Name(literal) | Token::Text(literal)) if piped.is_none() => return Ok(literal),
            Some(Token::Open) if piped.is_none() => return self.parenthesised(depth),
            _ => return Err("expected a function: env, toBool, toInt, toFloat or indent".into()),
        };
        let mut arguments = Vec::new();
        while let Some(token) = self.tokens.front() {
            match token {
                Token::Pipe | Token::Close => break,
                Token::Open => {
                    self.tokens.pop_front();
                    arguments.push(self.parenthesised(depth)?);
                }
                Token::Name(_) | Token::Text(_) => {
                    if let Some(Token::Name(value) | Token::Text(value)) = self.tokens.pop_front() {
                        arguments.push(value);
                    }
                }
            }
        }
        arguments.extend(piped);
        self.call(&function, arguments)
    }

    fn parenthesised(&mut self, depth: usize) -> Result<String, String> {
        let value = self.pipeline(depth + 1)?;
        match self.tokens.pop_front() {
            Some(Token::Close) => Ok(value),
            _ => Err("unclosed '(' in template expression".into()),
        }
    }

    fn call(&self, function: &str, arguments: Vec<String>) -> Result<String, String> {
        let count = arguments.len();
        match (function, <[String; 1]>::try_from(arguments)) {
            ("env", Ok([name])) => self.env(&name),
            ("toBool", Ok([text])) => match text.as_str() {
                "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok("true".into()),
                "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok("false".into()),
                _ => Err("toBool: the value is not a boolean".into()),
            },
            ("toInt", Ok([text])) => {
                text.parse::<i64>().map(|n| n.to_string()).map_err(|_| "toInt: the value is not an integer".into())
            }
            ("toFloat", Ok([text])) => match text.parse::<f64>() {
                Ok(number) if number.is_finite() => Ok(number.to_string()),
                _ => Err("toFloat: the value is not a number".into()),
            },
            ("indent", Err(arguments)) if count == 2 => {
                let (Some(width), Some(text)) = (arguments.first(), arguments.get(1)) else { return Ok(String::new()) };
                let width = width.parse::<usize>().ok().filter(|width| *width <= 1000);
                let width = width.ok_or("indent: the first argument is a number of spaces")?;
                Ok(text.replace('\n', &format!("\n{}", " ".repeat(width))))
            }
            ("env" | "toBool" | "toInt" | "toFloat", _) => {
                Err(format!("{function}: expected 1 argument, found {count}"))
            }
            ("indent", _) => Err(format!("indent: expected 2 arguments, found {count}")),
            _ => Err(format!("function \"{function}\" not defined")),
        }
    }

    fn env(&self, name: &str) -> Result<String, String> {
        if !name.starts_with("DECK_") {
            return Err(format!(
                "environment variables in the state file must be prefixed with 'DECK_', found: '{name}'"
            ));
        }
        self.environment
            .get(name)
            .map(str::to_owned)
            .ok_or_else(|| format!("environment variable '{name}' present in state file but not set"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(text: &str) -> Result<String, Vec<String>> {
        let environment = Environment::from_iter([
            ("DECK_X", "value"),
            ("DECK_EMPTY", ""),
            ("DECK_N", "42"),
            ("DECK_B", "true"),
            ("DECK_F", "1.5"),
            ("DECK_PEM", "one\ntwo\nthree"),
            ("HOME", "/root"),
        ]);
        match expand(text, &environment) {
            Ok(expanded) => Ok(expanded.text.into_owned()),
            Err(faults) => Err(faults.into_iter().map(|fault| format!("{}: {}", fault.at, fault.message)).collect()),
        }
    }

    #[test]
    fn values_are_put_into_the_text() {
        for (template, expected) in [
            ("plain", "plain"),
            (r#"a: "${{ env "DECK_X" }}""#, r#"a: "value""#),
            (r#"a: ${{env "DECK_X"}}!"#, "a: value!"),
            (r#"a: ${{ env `DECK_X` }}"#, "a: value"),
            (r#"a: "${{ env "DECK_EMPTY" }}""#, r#"a: """#),
            (r#"a: ${{ env "DECK_N" | toInt }}"#, "a: 42"),
            (r#"a: ${{ toInt (env "DECK_N") }}"#, "a: 42"),
            (r#"a: ${{ env "DECK_B" | toBool }} ${{ env "DECK_F" | toFloat }}"#, "a: true 1.5"),
            (r#"k: |"#, "k: |"),
            ("k: |\n  ${{ env \"DECK_PEM\" | indent 2 }}\n", "k: |\n  one\n  two\n  three\n"),
            ("k: |\n  ${{ indent 2 (env \"DECK_PEM\") }}\n", "k: |\n  one\n  two\n  three\n"),
            ("a: x   ${{- env \"DECK_X\" -}}   y", "a: xvaluey"),
            (r#"a: ${{ "}}" }}"#, "a: }}"),
            (r#"a: ${{/* note */}}"#, "a: "),
        ] {
            assert_eq!(run(template).as_deref(), Ok(expected), "{template}");
        }
    }

    #[test]
    fn comment_lines_are_left_alone() {
        let text = "  # ${{ env \"UNSET\" }} ${{ broken\na: ${{ env \"DECK_X\" }}\n";
        assert_eq!(run(text).as_deref(), Ok("  # ${{ env \"UNSET\" }} ${{ broken\na: value\n"));
    }

    #[test]
    fn every_fault_is_said() {
        for (template, expected) in [
            (
                r#"${{ env "HOME" }}"#,
                "environment variables in the state file must be prefixed with 'DECK_', found: 'HOME'",
            ),
            (r#"${{ env "DECK_NO" }}"#, "environment variable 'DECK_NO' present in state file but not set"),
            ("${{ env", "unclosed '${{': expected '}}' on the same line"),
            ("${{ env }}", "env: expected 1 argument, found 0"),
            (r#"${{ exec "ls" }}"#, "function \"exec\" not defined"),
            (r#"${{ env "DECK_X" | toInt }}"#, "toInt: the value is not an integer"),
            (r#"${{ env "DECK_X" | toBool }}"#, "toBool: the value is not a boolean"),
            (r#"${{ ((((((((((((((((((((env "DECK_X" }}"#, "template expression is nested too deeply"),
            (r#"${{ env "DECK_X" ) }}"#, "unexpected ')' in template expression"),
            (r#"${{ ( env "DECK_X" }}"#, "unclosed '(' in template expression"),
            ("${{ }}", "expected a function: env, toBool, toInt, toFloat or indent"),
            ("${{ ! }}", "unexpected '!' in template expression"),
        ] {
            assert_eq!(run(template), Err(vec![format!("0: {expected}")]), "{template}");
        }
        assert_eq!(run("a: ${{ env \"A\" }}\nb: ${{ env \"B\" }}").map_err(|faults| faults.len()), Err(2));
    }

    #[test]
    fn positions_map_back() {
        let environment = Environment::from_iter([("DECK_PEM", "1\n2")]);
        let expanded = expand("a: ${{ env \"DECK_PEM\" }} b", &environment).unwrap();
        assert_eq!(expanded.text, "a: 1\n2 b");
        assert_eq!((expanded.replaced[0].from, expanded.replaced[0].to), ((3, 24), (3, 6)));
    }
}
